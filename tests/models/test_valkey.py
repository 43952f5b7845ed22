"""The embedded broker: starts, is found again, keeps what it was told, ends with its starter."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from models.domain.job import Lane
from models.infra import valkey
from models.infra.broker import Broker
from models.infra.settings import Settings


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data_dir=tmp_path / "data with a space")


def client(settings: Settings) -> Redis:
    return Redis.from_url(settings.redis_py_url)


def test_it_answers_on_a_private_socket_and_stops(settings):
    server = valkey.start(settings)
    assert client(settings).ping()
    assert settings.runtime_dir.stat().st_mode & 0o777 == 0o700
    assert settings.redis_socket.stat().st_mode & 0o777 == 0o700
    assert client(settings).config_get("appendfsync")["appendfsync"] == "everysec"
    server.stop()
    assert not server.is_alive()


def test_a_running_server_is_found_and_left_alone(settings):
    first = valkey.start(settings)
    second = valkey.start(settings)
    assert second.process is None
    second.stop()
    assert first.is_alive()
    first.stop()


def test_bells_survive_a_kill_of_the_server(settings):
    first = valkey.start(settings)
    broker = Broker(settings)
    for _ in range(5):
        broker.ring(Lane.JOBS)
    time.sleep(1.1)  # fsync happens each second
    first.process.kill()
    first.process.wait()
    second = valkey.start(settings)
    assert broker.bells(Lane.JOBS) == 5
    broker.close()
    second.stop()


def test_a_given_redis_url_starts_nothing(tmp_path):
    assert valkey.start(Settings(data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0")) is None


def test_the_server_ends_when_its_starter_is_killed(settings):
    code = (
        "import sys, time; from pathlib import Path; from models.infra import valkey;"
        "from models.infra.settings import Settings;"
        f"s = valkey.start(Settings(data_dir=Path({str(settings.data_dir)!r})));"
        "print(s.process.pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    lines = iter(starter.stdout.readline, b"")
    pid = int(next(line for line in lines if line.strip().isdigit()))
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 10
    while valkey.answers(settings.redis_socket):
        assert time.monotonic() < deadline, f"server {pid} outlived its starter"
        time.sleep(0.05)
