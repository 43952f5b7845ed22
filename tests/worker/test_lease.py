"""The lease thread against both databases; one test keeps production's times, for their arithmetic alone."""

import threading
import time

import pytest
from sqlalchemy import select

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Job, JobEvent
from models.domain.errors import JobFailed, LeaseLost
from models.domain.job import CancelWish, JobState, Lane
from models.domain.progress import CheckpointSaved, Remarked
from models.infra.settings import Settings
from tests.harness import TENTH, wait_for
from tests.people import make_job
from worker.jobdir import JobDir
from worker.lease import Lease


def claimed(database) -> Job:
    make_job(database)
    with database.write() as session:
        return SystemStore(session).claim(Lane.JOBS, "worker-a", 3)


def lease_of(database, tmp_path, job: Job, claimed_at: float | None = None, **settings) -> Lease:
    (tmp_path / "job").mkdir(exist_ok=True)
    made = Settings(data_dir=tmp_path, **(TENTH | settings))
    return Lease(database, made, job, JobDir(tmp_path / "job"), claimed_at or time.monotonic())


def log_of(database, job: Job) -> str | None:
    with database.read() as session:
        return session.scalar(select(Job.log_tail).where(Job.id == job.id))


def messages(database, job: Job) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(JobEvent.message).where(JobEvent.job_id == job.id).order_by(JobEvent.id)))


def test_it_outlives_its_first_length_and_feeds_the_child_for_each_beat(database, tmp_path):
    job, fed = claimed(database), []
    with lease_of(database, tmp_path, job, lease_seconds=0.6) as lease:
        lease.feed = lambda: fed.append(1)
        time.sleep(1.5)
        assert not lease.is_lost
    assert len(fed) >= 5


def test_what_was_said_is_recorded_once_and_checkpoints_are_passed_on(database, tmp_path):
    job = claimed(database)
    with lease_of(database, tmp_path, job) as lease:
        jobdir = JobDir(tmp_path / "job")
        jobdir.say(Remarked(text="hello"))
        jobdir.say(CheckpointSaved(step=4, directory="checkpoints/step-00000004"))
        assert lease.checkpoints.get(timeout=5).step == 4
        jobdir.say(Remarked(text="last words"))
        lease.write_last(lambda store: store.settle(job.id, job.fence, JobState.SUCCEEDED))
    assert messages(database, job)[-3:] == ["hello", "last words", "running -> succeeded"]


def test_the_end_of_the_log_stands_in_the_row_and_is_written_anew_only_when_it_grew(database, tmp_path):
    job = claimed(database)
    log = tmp_path / "job" / "log.txt"
    with lease_of(database, tmp_path, job) as lease:
        log.write_text(f"\x1b[31mloading\x1b[0m {tmp_path}/job/in/base\r\n")
        wait_for(lambda: log_of(database, job) is not None, 5)
        assert log_of(database, job) == "loading JOB/in/base\n"
        with database.write() as session:
            session.get_one(Job, job.id).log_tail = "untouched"
        lease.beat()
        assert log_of(database, job) == "untouched"
        log.write_text("loading\nstep 1\n")  # within the five seconds: only the last write takes it
        lease.write_last(lambda store: store.settle(job.id, job.fence, JobState.FAILED))
    assert log_of(database, job) == "loading\nstep 1\n"


def test_a_stale_attempt_does_not_write_its_log(database, tmp_path):
    job = claimed(database)
    with database.write() as session:
        SystemStore(session).release(job.id, job.fence, reason="a test")
    with database.write() as session, pytest.raises(LeaseLost):
        SystemStore(session).record(job.id, job.fence, [], log_tail="mine")
    assert log_of(database, job) is None


def test_a_cancel_is_heard(database, tmp_path):
    job = claimed(database)
    with lease_of(database, tmp_path, job) as lease:
        with database.write() as session:
            TeamStore(session, SystemStore(session).principal()).request_cancel(job.id, CancelWish.KEEP)
        assert wait_for(lambda: lease.wish, 5) is CancelWish.KEEP


def test_a_lost_lease_writes_nothing_any_more(database, tmp_path):
    job = claimed(database)
    with lease_of(database, tmp_path, job) as lease:
        with database.write() as session:
            session.get_one(Job, job.id).fence += 1
        wait_for(lambda: lease.is_lost, 5)
        with pytest.raises(LeaseLost):
            lease.write(lambda store: store.release(job.id, job.fence, reason="never"))
    assert messages(database, job)[-1] == "queued -> running"


def test_a_last_write_that_is_refused_leaves_room_for_another(database, tmp_path):
    job = claimed(database)

    def refuse(_store):
        raise JobFailed("the name is taken")

    with lease_of(database, tmp_path, job) as lease:
        JobDir(tmp_path / "job").say(Remarked(text="said before"))
        with pytest.raises(JobFailed):
            lease.write_last(refuse)
        lease.write_last(lambda store: store.settle(job.id, job.fence, JobState.FAILED))
    assert messages(database, job).count("said before") == 1


def test_a_write_waits_for_a_database_that_is_away_for_a_moment(tmp_path):
    from models.db.engine import Database
    from models.db.migrations import migrate

    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    migrate(database)
    job, locked, free = claimed(database), threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            locked.set()
            free.wait(1)

    with lease_of(database, tmp_path, job) as lease:
        holder = threading.Thread(target=hold)
        holder.start()
        locked.wait()
        lease.write_last(lambda store: store.settle(job.id, job.fence, JobState.SUCCEEDED))
        holder.join()
    database.close()


def test_production_times_fit_into_each_other(tmp_path):
    settings = Settings(data_dir=tmp_path)
    assert 3 * settings.heartbeat_seconds < settings.child_silence_seconds < settings.lease_seconds
    assert settings.lease_seconds + 2 * settings.sweep_seconds <= 60  # P3: a dead worker's job runs within 60 s
    assert 2 * settings.heartbeat_seconds + settings.cancel_grace_seconds <= 20  # P5
    assert settings.drain_seconds < 60  # P6


@pytest.mark.parametrize(("age", "is_lost"), [(29, False), (31, True)])
def test_at_production_times_a_lease_is_lost_after_thirty_silent_seconds(tmp_path, age, is_lost):
    lease = lease_of(None, tmp_path, Job(id="job-1", fence=1), time.monotonic() - age, lease_seconds=30)
    assert lease.is_lost is is_lost
