"""The supervisor with real workers, a real broker and both databases: one job's whole life."""

import os
import signal
import time

import psutil
import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Blob, Checkpoint
from models.domain.errors import Code
from models.domain.job import CancelWish, JobState, Lane
from tests.harness import House, house, wait_for
from worker.jobdir import JobDir

__all__ = ["house"]


def cancel(house: House, job_id: str, wish: CancelWish = CancelWish.DISCARD) -> None:
    with house.database.write() as session:
        TeamStore(session, SystemStore(session).principal()).request_cancel(job_id, wish)


def test_jobs_run_to_their_end_and_leave_their_steps(house):
    house.start_workers(1)
    first, second = house.submit(2, count=3, checkpoint_every=2)
    house.wait_until_all_ended()
    house.history().check()
    assert house.job(first).result == {"counted": 3, "first": 1}
    assert (house.job(second).done, house.job(second).total) == (3, 3)
