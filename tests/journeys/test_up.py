"""`tuneroom up` as a person meets it: an address soon, commands beside it, one a directory, and a clean end."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from openai import AuthenticationError, OpenAI

from models.db.engine import Database
from models.domain.job import JobState
from tests.journeys.launched import eventually, launched, processes_of, record_of, without_bundled_base
from tests.people import make_job
from webapp.health import is_healthy
from webapp.processes import bare_environment, tuneroom_command

PROMISED_SECONDS = 15
SLACK = 2  # trainings of other tests have the cores meanwhile


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """An installation that is up for the whole module."""
    folder = tmp_path_factory.mktemp("up")
    with pytest.MonkeyPatch.context() as patch:
        without_bundled_base(folder, patch)
        with launched(folder / "var") as up:
            answer_of(up)
            yield folder / "var"


def answer_of(up: subprocess.Popen[str]) -> str:
    """The line with the address, which `up` says once the app answers there."""
    assert up.stdout is not None
    said = []
    for line in up.stdout:
        said.append(line)
        if "answers at" in line:
            return line
    raise AssertionError(f"it ended without an address: {said}")


def tuneroom(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = tuneroom_command(*arguments, "--data-dir", str(data_dir))
    return subprocess.run(
        command, env=bare_environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def client_with(data_dir: Path, key: str) -> OpenAI:
    return OpenAI(base_url=f"{record_of(data_dir).url}/v1", api_key=key, max_retries=0)


def test_an_empty_directory_answers_within_what_is_promised_and_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)
    began = time.monotonic()
    with launched(tmp_path / "var") as up:
        line = answer_of(up)
        assert time.monotonic() - began < PROMISED_SECONDS * SLACK
        url = record_of(tmp_path / "var").url
        assert url in line
        assert is_healthy(url)
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
        assert processes_of(tmp_path) == []
        assert not is_healthy(url)


def test_a_killed_keeper_leaves_nothing_behind_and_its_running_job_goes_back(tmp_path, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)
    folder = tmp_path / "var"
    with launched(folder) as up:
        answer_of(up)
        database = Database(f"sqlite:///{folder / 'tuneroom.db'}")
        job = make_job(database, count=1000, seconds_each=1.0)
        eventually(lambda: len(processes_of(folder / "jobs" / job.id)) == 1)  # its child runs
        assert state_of(database, job.id) is JobState.RUNNING
        # Keeper, Valkey, web, three workers, the job's child; each may be starting a short-lived one.
        eventually(lambda: len(processes_of(tmp_path)) == 7)
        up.kill()
        eventually(lambda: processes_of(tmp_path) == [], 30)
        assert state_of(database, job.id) is JobState.QUEUED
        database.close()


def state_of(database: Database, job_id: str) -> JobState:
    from models.db.tables import Job

    with database.read() as session:
        return JobState(session.get_one(Job, job_id).state)


def test_a_second_up_names_the_first_and_ends(data_dir):
    first = record_of(data_dir)
    second = tuneroom(data_dir, "up", "--port", "0", "--no-open")
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr
    assert first.url in second.stderr
    assert "Traceback" not in second.stderr


@pytest.fixture(scope="module")
def key(data_dir):
    assert tuneroom(data_dir, "user", "add", "ada@example.org").returncode == 0
    return tuneroom(data_dir, "key", "create", "--user", "ada@example.org").stdout.splitlines()[-1]


def test_a_person_and_a_key_are_made_beside_the_running_app_and_the_key_opens_it(data_dir, key):
    assert [model.id for model in client_with(data_dir, key).models.list()] == []
    with pytest.raises(AuthenticationError):
        client_with(data_dir, key[:-1]).models.list()


def test_samples_are_there_without_being_asked_for(data_dir, key):
    files = client_with(data_dir, key).files
    eventually(lambda: {file.status for file in files.list()} == {"processed"})
    assert {file.filename for file in files.list()} >= {"larkspur-facts.jsonl", "plain-style.jsonl"}


def test_a_killed_worker_and_a_killed_web_process_are_started_again_on_the_same_address(data_dir):
    url = record_of(data_dir).url
    before = {part.name: part.pid for part in record_of(data_dir).parts}
    for name in ("web", "worker-light"):
        assert before[name] is not None
        os.kill(before[name], signal.SIGKILL)
    eventually(lambda: is_restarted(data_dir, "web") and is_restarted(data_dir, "worker-light"))
    eventually(lambda: is_healthy(url))
    after = {part.name: part.pid for part in record_of(data_dir).parts}
    assert after["web"] != before["web"]
    assert after["valkey"] == before["valkey"]


def is_restarted(data_dir: Path, name: str) -> bool:
    return any(part.name == name and part.restarts and part.state == "running" for part in record_of(data_dir).parts)


def test_health_and_doctor_speak_of_the_running_processes(data_dir):
    eventually(lambda: tuneroom(data_dir, "worker", "health").returncode == 0)
    said = tuneroom(data_dir, "doctor").stdout
    assert f"process {record_of(data_dir).pid}" in said
    assert "embedded Valkey answers" in said
    assert "4-bit" in said


def test_a_worker_started_by_hand_joins_its_lane_with_the_options_it_was_given(data_dir):
    limits = ("--memory-limit", "3GB", "--device-memory-limit", "2GB")
    command = tuneroom_command("worker", "jobs", *limits, "--data-dir", str(data_dir))
    worker = subprocess.Popen(command, env=bare_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: "jobs: 2 live" in tuneroom(data_dir, "worker", "health", "--lane", "jobs").stdout)
        given = psutil.Process(worker.pid).environ()
        assert given["TUNEROOM_MEMORY_LIMIT_BYTES"] == "3000000000"
        assert given["TUNEROOM_DEVICE_MEMORY_BYTES"] == "2000000000"
    finally:
        worker.terminate()
        assert worker.wait(60) == 0
