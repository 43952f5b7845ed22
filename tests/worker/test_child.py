"""The child process as the supervisor meets it: a directory, stdin, signals and an exit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.domain.errors import Code
from models.domain.job import CancelWish, JobKind
from worker.child import recognised, visible_device
from worker.jobdir import JobDir, Order, newest_valid_checkpoint


def toy(root: Path, resume_from: str | None = None, silence_seconds: float = 25.0, **payload) -> JobDir:
    jobdir = JobDir(root)
    jobdir.lay_out(
        Order(
            job="ftjob-1",
            fence=1,
            kind=JobKind.TOY,
            payload=payload,
            resume_from=resume_from,
            silence_seconds=silence_seconds,
        )
    )
    return jobdir


def spawn(jobdir: JobDir, *flags: str) -> subprocess.Popen:
    with jobdir.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.child", str(jobdir.root), *flags],
            stdin=subprocess.PIPE, stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip


def wait_for(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def test_a_toy_counts_says_every_step_and_leaves_an_artefact(tmp_path):
    jobdir = toy(tmp_path, count=5, checkpoint_every=2)
    assert spawn(jobdir, "--alone").wait(20) == 0
    said, _ = jobdir.said_since(0)
    assert jobdir.outcome().result == {"counted": 5, "first": 1}
    assert [one.step for one in said if one.type == "step"] == [1, 2, 3, 4, 5]
    assert [one.step for one in said if one.type == "checkpoint"] == [2, 4]
    assert (jobdir.out / "counted.json").exists()


def test_a_toy_starts_without_torch(tmp_path):
    probe = "import sys, worker.child, worker.toy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_child_resumes_where_its_checkpoint_ends(tmp_path):
    first = toy(tmp_path / "1", count=4, checkpoint_every=3, crash_at=4)
    assert spawn(first, "--alone").wait(20) == 3
    second = toy(tmp_path / "2", count=4, resume_from="checkpoints/step-00000003")
    (first.checkpoints / "step-00000003").rename(second.checkpoints / "step-00000003")
    spawn(second, "--alone").wait(20)
    assert second.outcome().result == {"counted": 4, "first": 4}


def test_the_child_ends_when_its_supervisor_dies(tmp_path):
    jobdir = toy(tmp_path, count=100, seconds_each=1)
    child = spawn(jobdir)
    wait_for(lambda: jobdir.said_since(0)[0])
    child.stdin.close()
    assert child.wait(5) == 70
    assert jobdir.outcome() is None


def test_the_child_ends_when_the_lease_falls_silent(tmp_path):
    jobdir = toy(tmp_path, count=100, seconds_each=1, silence_seconds=1.5)
    child = spawn(jobdir)
    for _ in range(8):  # bytes keep it alive past 1.5 s
        time.sleep(0.3)
        child.stdin.write(b".")
        child.stdin.flush()
    assert child.poll() is None
    assert child.wait(10) == 70


@pytest.mark.parametrize("wish", [None, CancelWish.KEEP])
def test_sigterm_checkpoints_and_keeps_the_artefact_only_if_wished(tmp_path, wish):
    jobdir = toy(tmp_path, count=100, seconds_each=0.2)
    child = spawn(jobdir, "--alone")
    wait_for(lambda: any(one.type == "step" for one in jobdir.said_since(0)[0]))
    jobdir.ask_to_stop(wish)
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 0
    assert jobdir.outcome().status == "stopped"
    found = newest_valid_checkpoint(jobdir.checkpoints)
    assert found is not None and found[1].step == jobdir.outcome().result["counted"]
    assert (jobdir.out / "counted.json").exists() == (wish is CancelWish.KEEP)


def test_an_expected_failure_is_an_outcome_with_a_sentence(tmp_path):
    jobdir = toy(tmp_path, count=3, fail_at=2)
    assert spawn(jobdir, "--alone").wait(20) == 0
    assert jobdir.outcome().status == "failed"
    assert "told to fail at 2" in jobdir.outcome().error["message"]


def test_an_unexpected_failure_keeps_its_traceback_in_the_log(tmp_path):
    jobdir = toy(tmp_path, count="many")
    spawn(jobdir, "--alone").wait(20)
    error = jobdir.outcome().error
    assert error["code"] == Code.INTERNAL
    assert "Traceback" in jobdir.log.read_text()
    assert "Traceback" not in error["message"] and str(tmp_path) not in error["message"]


def test_memory_refused_on_the_device_becomes_a_code_with_advice_and_the_cap_if_there_is_one():
    from torch import OutOfMemoryError

    refused = OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    free, capped = (
        Order(job="ftjob-1", fence=1, kind=JobKind.TOY, payload={}, device="cuda:1", device_memory_bytes=cap)
        for cap in (None, 6 * 10**9)
    )
    assert {recognised(refused, order).code for order in (free, capped)} == {Code.OUT_OF_MEMORY}
    assert "fewer rows per forward pass" in recognised(refused, free).message
    assert "the 6.0 GB of cuda:1" in recognised(refused, capped).message
    assert recognised(refused, capped).facts == {"allowed_bytes": 6 * 10**9}
    full = RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")
    assert recognised(full, free).code is Code.OUT_OF_MEMORY
    assert recognised(RuntimeError("something else"), capped).code is Code.INTERNAL


@pytest.mark.parametrize(
    ("device", "inherited", "seen"),
    [
        ("cpu", "0,1", ""), ("cuda:0", None, "0"), ("cuda:3", None, "3"), ("cuda:1", "2, 5", "5"),
        ("cuda:0", "GPU-8f", "GPU-8f"), ("cuda:2", "2,5", ""), ("cuda:0", "", ""),
    ],
)  # fmt: skip
def test_a_child_sees_the_one_device_that_its_worker_calls_by_that_number(device, inherited, seen):
    assert visible_device(device, inherited) == seen
