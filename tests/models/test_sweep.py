"""The sweep, with a real broker and both databases: one at a time, and no more bells than slots."""

import os
import socket

import pytest

from models.db.store.system import SystemStore
from models.db.tables import Job, Worker
from models.domain.ids import new_id
from models.domain.job import HeldReason, JobState, Lane
from models.infra import valkey
from models.infra.broker import Broker
from models.infra.settings import Settings
from models.infra.sweep import Sweeper, has_room
from tests.harness import TENTH, wait_for
from tests.people import make_job


@pytest.fixture
def settings(tmp_path, database_url):
    made = Settings(data_dir=tmp_path / "house", database_url=database_url, **TENTH)
    server = valkey.start(made)
    yield made
    server.stop()


@pytest.fixture
def broker(settings):
    made = Broker(settings)
    yield made
    made.close()


def add_worker(database, slots: int) -> None:
    row = Worker(
        id=new_id("worker"), host=socket.gethostname(), pid=os.getpid(), lane="jobs", device="cpu", slots=slots
    )
    with database.write() as session:
        SystemStore(session).worker_started(row)


def test_a_lane_gets_as_many_bells_as_it_has_slots_and_never_more(database, settings, broker):
    add_worker(database, slots=3)
    for _ in range(8):
        make_job(database)
    sweeper = Sweeper(database, broker, settings)
    for _ in range(3):
        sweeper.sweep()
    assert (broker.bells(Lane.JOBS), broker.bells(Lane.LIGHT)) == (3, 0)


def test_a_lane_without_work_is_not_rung(database, settings, broker):
    add_worker(database, slots=3)
    Sweeper(database, broker, settings).sweep()
    assert broker.bells(Lane.JOBS) == 0


def test_one_process_sweeps_at_a_time_and_another_takes_over_when_it_is_gone(database, settings, broker):
    job = make_job(database)
    with database.write() as session:
        SystemStore(session).claim(Lane.JOBS, "dead", -1)
    first, second = (Sweeper(database, broker, settings) for _ in range(2))
    assert first.sweep() == [(job.id, JobState.QUEUED)]
    with database.write() as session:
        SystemStore(session).claim(Lane.JOBS, "dead", -1)
    assert second.sweep() == []
    wait_for(second.sweep, 10)


def test_a_running_sweeper_takes_back_a_dead_workers_job(database, settings, broker):
    job = make_job(database)
    with database.write() as session:
        SystemStore(session).claim(Lane.JOBS, "dead", -1)
    sweeper = Sweeper(database, broker, settings).start()
    wait_for(lambda: broker.bells(Lane.JOBS) == 1, 10)
    sweeper.stop()
    with database.read() as session:
        assert session.get_one(Job, job.id).state == JobState.QUEUED


def test_a_broker_that_is_away_does_not_stop_the_sweep(database, tmp_path):
    away = Settings(data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0", **TENTH)
    job = make_job(database)
    with database.write() as session:
        SystemStore(session).claim(Lane.JOBS, "dead", -1)
    assert Sweeper(database, Broker(away), away).sweep() == [(job.id, JobState.QUEUED)]


def test_jobs_held_for_want_of_disk_go_on_when_there_is_room(database, settings, broker):
    if not has_room(settings):
        pytest.skip("this machine's own disk is nearly full")
    job = make_job(database)
    with database.write() as session:
        store = SystemStore(session)
        claimed = store.claim(Lane.JOBS, "full", 30)
        store.release(job.id, claimed.fence, reason="disk is full", held=HeldReason.DISK)
    Sweeper(database, broker, settings).sweep()
    with database.read() as session:
        assert session.get_one(Job, job.id).held_reason is None
