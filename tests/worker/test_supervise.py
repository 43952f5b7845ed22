"""The supervisor with a real worker, a real broker and both databases: what becomes of one job."""

import os
import signal
import time

import psutil
import pytest
from sqlalchemy import select, text

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Blob, Checkpoint, Job, JobEvent, Worker
from models.domain.errors import Code
from models.domain.job import CancelWish, JobState
from tests.harness import House, each_house, house, open_sqlite_house, wait_for
from worker.jobdir import JobDir

__all__ = ["each_house", "house"]


def cancel(house: House, job_id: str, wish: CancelWish = CancelWish.DISCARD) -> None:
    with house.database.write() as session:
        TeamStore(session, SystemStore(session).principal()).request_cancel(job_id, wish)


def state_of(house: House, job_id: str) -> JobState:
    return JobState(house.job(job_id).state)


def trainer(house: House, job_id: str) -> psutil.Process:
    """The running child, once it has counted something."""
    house.wait_for_step(job_id, 1)
    return house.workers[-1].children()[0]


def events(house: House, job_id: str) -> list[str]:
    with house.database.read() as session:
        query = select(JobEvent.message).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
        return list(session.scalars(query))


def test_jobs_run_to_their_end_and_leave_steps_and_checkpoints(each_house):
    house = each_house
    house.start_workers(1)
    first, second = house.submit(2, count=3, checkpoint_every=2)
    house.wait_until_all_ended()
    house.history().check()
    assert house.job(first).result == {"counted": 3, "first": 1}
    assert (house.job(second).done, house.job(second).total) == (3, 3)
    with house.database.read() as session:
        assert {row.step for row in session.scalars(select(Checkpoint))} == {2}
        assert session.scalar(select(Blob.sha256).where(Blob.is_tree)) is not None


def test_a_failure_is_told_in_the_childs_own_words_and_is_not_tried_again(house):
    house.start_workers(1)
    [job] = house.submit(count=3, fail_at=2)
    house.wait_until_all_ended()
    house.history().check(expected=JobState.FAILED)
    assert "told to fail at 2" in house.job(job).error["message"]
    assert house.job(job).attempts == 0
    with house.database.read() as session:
        log = session.scalar(select(Job.log_tail).where(Job.id == job))
    assert log is not None and "told to fail at 2" in log


def test_a_job_that_kills_its_child_three_times_fails_and_the_next_one_runs(house):
    house.start_workers(1)
    [poison] = house.submit(count=3, crash_at=2)
    [other] = house.submit(count=1)
    wait_for(lambda: state_of(house, other).is_terminal)
    assert (state_of(house, other), state_of(house, poison)) == (JobState.SUCCEEDED, JobState.FAILED)
    assert (house.job(poison).attempts, house.job(poison).error["code"]) == (3, Code.CHILD_DIED)
    assert str(house.settings.data_dir) not in str(house.job(poison).error)


@pytest.mark.parametrize("wish", CancelWish)
def test_a_cancelled_job_ends_its_child_and_never_runs_again(house, wish):
    house.start_workers(1)
    [job] = house.submit(count=1000, seconds_each=0.1)
    child = trainer(house, job)
    cancel(house, job, wish)
    house.wait_until_all_ended()
    house.history().check(expected=JobState.CANCELLED)
    assert not child.is_running()
    kept = house.job(job).result is not None
    assert kept is (wish is CancelWish.KEEP)


def test_a_child_that_ignores_term_is_killed_after_the_grace(house):
    house.start_workers(1)
    [job] = house.submit(count=1000, seconds_each=0.1)
    child = trainer(house, job)
    child.suspend()  # a stopped process hears no TERM
    cancel(house, job)
    house.wait_until_all_ended()
    assert state_of(house, job) is JobState.CANCELLED
    assert not child.is_running()


def test_a_child_over_its_memory_is_killed_alone_and_the_reason_is_told(tmp_path):
    with open_sqlite_house(tmp_path, memory_limit_bytes=1_000_000) as house:
        [worker] = house.start_workers(1)
        [job] = house.submit(count=1000, seconds_each=0.1)
        house.wait_until_all_ended()
        assert house.job(job).error["code"] == Code.OUT_OF_MEMORY
        assert worker.process.poll() is None


def test_the_cap_on_device_memory_reaches_the_child_which_says_that_a_cpu_has_none(tmp_path):
    with open_sqlite_house(tmp_path, device_memory_bytes=2 * 10**9) as house:
        house.start_workers(1)
        [job] = house.submit(count=1)
        house.wait_until_all_ended()
        house.history().check()
        [attempt] = (house.settings.jobs_dir / job).iterdir()
        assert JobDir(attempt).order().device_memory_bytes == 2 * 10**9
        assert "the cap on device memory has no effect on cpu" in JobDir(attempt).log.read_text()


def test_a_child_that_stands_still_is_stopped_and_the_job_goes_on(tmp_path):
    with open_sqlite_house(tmp_path, no_progress_seconds=1.5) as house:
        house.start_workers(1)
        [job] = house.submit(count=8, seconds_each=0.3, checkpoint_every=1)
        trainer(house, job).suspend()
        house.wait_until_all_ended()
        house.history().check()
        assert house.job(job).attempts == 1
        assert house.job(job).result["first"] > 1


def test_another_machine_resumes_from_the_uploaded_checkpoint(house):
    [job] = house.submit(count=12, seconds_each=0.1, checkpoint_every=3)
    [worker] = house.start_workers(1)
    house.wait_for_step(job, 4)
    worker.end()
    (house.settings.jobs_dir / job).rename(house.settings.data_dir / "elsewhere")
    house.start_workers(1)
    house.wait_until_all_ended()
    house.history().check()
    assert house.job(job).result["first"] > 3
    assert house.job(job).attempts == 0


def test_a_child_knows_no_settings_and_no_credentials(house, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    house.start_workers(1)
    [job] = house.submit(count=1000, seconds_each=0.1)
    environment = trainer(house, job).environ()
    assert not [name for name in environment if name.startswith("TUNEROOM_") or name.endswith("TOKEN")]
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["HOME"] == str(house.settings.jobs_dir / job / "1")


def test_the_trainer_stops_itself_before_a_lease_is_lost_to_a_silent_database(house):
    house.start_workers(1)
    [job] = house.submit(count=400, seconds_each=0.1, checkpoint_every=1)
    child = trainer(house, job)
    with house.database.write() as session:
        session.execute(text("SELECT 1"))
        began = time.monotonic()
        wait_for(lambda: not child.is_running(), 20)
        assert time.monotonic() - began < house.settings.lease_seconds + 2
    wait_for(lambda: house.job(job).fence > 1)
    cancel(house, job)


def test_a_worker_that_was_asleep_past_its_lease_writes_nothing(each_house):
    house = each_house
    [sleeper] = house.start_workers(1)
    [job] = house.submit(count=25, seconds_each=0.1, checkpoint_every=5)
    house.wait_for_step(job, 3)
    with house.database.write() as session:  # on SQLite nobody could write beside one that fell asleep while it wrote
        session.execute(text("SELECT 1"))  # a transaction begins with its first statement
        os.killpg(sleeper.pid, signal.SIGSTOP)
    house.start_workers(1)
    wait_for(lambda: house.job(job).fence == 2)
    os.killpg(sleeper.pid, signal.SIGCONT)
    house.wait_until_all_ended()
    house.history().check()
    assert house.job(job).attempts == 1


def test_a_worker_leaves_when_its_keeper_is_gone(house):
    [worker] = house.start_workers(1)
    [job] = house.submit(count=1000, seconds_each=0.1)
    house.wait_for_step(job, 1)
    worker.process.stdin.close()
    assert worker.process.wait(20) == 0
    assert (state_of(house, job), house.job(job).attempts) == (JobState.QUEUED, 0)
    with house.database.read() as session:
        assert session.scalar(select(Worker.stopped_at)) is not None


def test_a_worker_with_two_slots_runs_two_jobs_at_once(tmp_path):
    with open_sqlite_house(tmp_path, slots=2) as house:
        house.start_workers(1)
        house.submit(2, count=20, seconds_each=0.1)
        wait_for(lambda: len(house.running()) == 2)
        house.wait_until_all_ended()
        house.history().check()
        assert len({job.owner for job in house.jobs()}) == 1
