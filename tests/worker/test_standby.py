"""The child that waits: it does a job as one that was started for it, and no longer than its worker lives."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from models.domain.job import JobKind
from models.infra.settings import Settings
from tests.harness import ROOT, wait_for
from tests.training import losses, training_job
from worker.jobdir import JobDir
from worker.loading import WEIGHTS
from worker.spawn import spawn
from worker.standby import LEAST_HOST_BYTES, Standby, standby_for


@pytest.fixture
def standby(tmp_path):
    made = Standby(Settings(data_dir=tmp_path / "data", threads=1), "cpu", tmp_path / "standby")
    yield made
    made.close()


def waiting(standby: Standby) -> psutil.Process:
    standby.prepare()
    (found,) = [each for each in psutil.Process().children() if "--standby" in each.cmdline()]
    return found


def done(child, jobdir: JobDir) -> JobDir:
    def has_ended() -> bool:
        child.feed()
        return child.has_ended

    wait_for(has_ended, 90)
    assert child.reap() == 0 and jobdir.outcome().status == "succeeded", jobdir.log.read_text()
    return jobdir


def test_it_trains_as_a_child_that_was_started_for_the_job(standby, tmp_path):
    process = waiting(standby)
    warm, cold = training_job(tmp_path / "warm"), training_job(tmp_path / "cold")
    child = standby.take(warm, JobKind.TRAIN, threads=1)
    assert child is not None and child.pid == process.pid
    beside = spawn(cold, threads=1)
    wait_for(lambda: losses(warm) or child.has_ended, 90)
    assert Path(f"/proc/{child.pid}/cwd").resolve() == warm.root and warm.root.joinpath("tmp").is_dir()
    done(child, warm), done(beside, cold)
    assert losses(warm) == losses(cold)
    assert (warm.out / WEIGHTS).read_bytes() == (cold.out / WEIGHTS).read_bytes()
    assert standby.take(warm, JobKind.TRAIN, threads=1) is None  # one job each


def test_it_is_left_alone_by_jobs_that_it_would_do_otherwise(standby, tmp_path):
    process = waiting(standby)
    jobdir = JobDir(tmp_path / "job")
    assert standby.take(jobdir, JobKind.TOY, threads=1) is None
    assert standby.take(jobdir, JobKind.TRAIN, threads=7) is None
    standby.prepare()
    assert waiting(standby) == process
    process.kill()
    wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    jobdir.root.mkdir()
    assert standby.take(jobdir, JobKind.TRAIN, threads=1) is None
    standby.close()
    standby.prepare()
    assert not [each for each in psutil.Process().children() if "--standby" in each.cmdline()]


def test_it_ends_with_its_worker(tmp_path):
    program = (
        "import time; from pathlib import Path; from models.infra.settings import Settings\n"
        "from worker.standby import Standby\n"
        f"s = Standby(Settings(data_dir=Path({str(tmp_path)!r})), 'cpu', Path({str(tmp_path / 'standby')!r}))\n"
        "s.prepare(); print(s._waiting.pid, flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    began = time.monotonic()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 60)
    assert time.monotonic() - began < 60  # a child reads the end of its stdin when its imports are done


@pytest.mark.parametrize(("wish", "host_bytes", "has"), [
    ("auto", LEAST_HOST_BYTES, True), ("auto", LEAST_HOST_BYTES - 1, False), ("on", 1, True), ("off", 10**12, False),
])  # fmt: skip
def test_small_hosts_have_none_unless_they_are_told_to(tmp_path, monkeypatch, wish, host_bytes, has):
    monkeypatch.setattr("worker.standby.host_bytes", lambda: host_bytes)
    assert (standby_for(Settings(data_dir=tmp_path, warm_child=wish), "cpu") is not None) is has
