"""Faults R5, R6 and R7: a broker that forgets, is away, or says everything many times.

On SQLite and PostgreSQL. Run here, per database: R5 8 queued + 1 running (of 200 + 2), R6 3 submits (of 20), through
the store and the bell, R7 24 jobs x 10 bells to 4 workers (of 500). FAULT_SCALE=N multiplies R5 and R7.
"""

import time

import pytest

from models.domain.errors import Unavailable
from models.domain.job import JobState, Lane
from tests.harness import SCALE, each_house, say_figures, wait_for

__all__ = ["each_house"]

REBUILT_SECONDS = 30


def test_r5_a_flushed_broker_loses_no_job_and_does_not_touch_a_running_one(each_house):
    house = each_house
    house.start_workers(1)
    [running] = house.submit(count=15, seconds_each=0.1)
    house.wait_for_step(running, 1)
    house.submit(8 * SCALE, count=1)
    house.redis.flushall()
    flushed = time.monotonic()
    wait_for(lambda: house.job(running).finished_at or house.broker.bells(Lane.JOBS), REBUILT_SECONDS)
    rebuilt = round(time.monotonic() - flushed, 2)
    house.wait_until_all_ended(90 * SCALE)
    house.history().check()
    say_figures("R5", {"bells again [s]": rebuilt})
    assert house.job(running).fence == 1


def test_r6_jobs_submitted_while_the_broker_is_down_stand_and_run(each_house):
    house = each_house
    house.start_workers(1)
    house.stop_broker()
    jobs = house.submit(3, ring=False, count=1)
    with pytest.raises(Unavailable):
        house.broker.ring(Lane.JOBS)
    assert {house.job(job).state for job in jobs} <= {JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED}
    # Workers look into the database themselves: the jobs need not wait for the broker's return.
    wait_for(lambda: all(job.finished_at for job in house.jobs()), REBUILT_SECONDS)
    house.start_broker()
    later = house.submit(2, ring=False, count=1)
    back = time.monotonic()
    wait_for(lambda: all(house.job(job).finished_at for job in later), REBUILT_SECONDS)
    house.history().check()
    say_figures("R6", {"first job after the return [s]": round(time.monotonic() - back, 2)})


def test_r7_ten_bells_for_each_job_give_it_one_winner(each_house):
    house = each_house
    house.start_workers(4)
    jobs = house.submit(24 * SCALE, ring=False, count=1)
    for _ in range(10 * len(jobs)):
        house.broker.ring(Lane.JOBS)
    house.wait_until_all_ended(90 * SCALE)
    history = house.history()
    history.check()
    assert all(len(history.claims(job)) == 1 for job in house.accepted)
    assert len({job.owner for job in house.jobs()}) > 1
    log = b"".join(path.read_bytes() for path in house.settings.data_dir.glob("worker-*.log"))
    assert b"level=error" not in log
