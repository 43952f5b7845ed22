"""Faults R1, R2, R3 and R19: workers and trainers that die, and workers that are asked to leave.

On SQLite and PostgreSQL, with lease, heartbeat and sweep a tenth of production's. Run here, on each database:
R1 3 jobs, 3 kills of a worker that runs one (of 50 x 2), R2 2 kills (of 30), R3 4 kills (of 50), R19 2 rolling
restarts with 2 running jobs (of 5). Restart times are printed (`pytest -s`), the promises are asserted.
FAULT_SCALE=N multiplies R2.
"""

import random
import time
from datetime import UTC, datetime
from itertools import pairwise

import psutil

from models.db.tables import Job
from tests.harness import SCALE, House, each_house, say_figures, wait_for

__all__ = ["each_house"]

SAVE_EVERY = 3
ORPHAN_SECONDS = 10
RESUME_SECONDS = 15


def lost_steps(house: House, job_id: str) -> list[int]:
    """For each attempt but the last: steps it counted that the next one counted again."""
    fences = range(1, house.job(job_id).fence + 1)
    counted = [steps for fence in fences if (steps := house.steps_of(job_id, fence))]
    return [max(before) - min(after) + 1 for before, after in pairwise(counted)]


def just_begun(house: House, but_not: set[str]) -> Job | None:
    """A running job whose present attempt has counted something."""
    fit = (job for job in house.running() if job.id not in but_not)
    return next((job for job in fit if house.steps_of(job.id, job.fence)), None)


def test_r1_kill_9_of_workers_in_mid_step_loses_no_job_and_at_most_a_save_interval(each_house):
    house, draw, killed = each_house, random.Random(1), {}
    jobs = house.submit(3, count=30, seconds_each=0.1, checkpoint_every=SAVE_EVERY)
    house.start_workers(2)
    for _ in range(3):
        victim = wait_for(lambda: just_begun(house, but_not=set(killed)))
        time.sleep(draw.uniform(0, 1))
        killed[victim.id] = datetime.now(UTC)
        house.worker_of(victim).kill()
        house.start_worker()  # as the keeper does
    house.wait_until_all_ended()
    history = house.history()
    history.check()
    lost = [steps for job in jobs for steps in lost_steps(house, job)]
    restarts = [history.seconds_to_claim(job, at) for job, at in killed.items()]
    say_figures("R1", {"restarts [s]": restarts, "lost steps": lost})
    assert max(lost) <= SAVE_EVERY
    assert [house.job(job).attempts for job in jobs] == [1, 1, 1]


def test_r2_kill_9_of_the_trainer_costs_an_attempt_and_not_the_worker(each_house):
    house, resumed = each_house, []
    [worker] = house.start_workers(1)
    for _ in range(SCALE):
        [job] = house.submit(count=12, seconds_each=0.1, checkpoint_every=SAVE_EVERY)
        for attempt in (1, 2):
            house.wait_for_step(job, 4 * attempt)
            [child], killed = worker.children(), time.monotonic()
            child.kill()
            wait_for(lambda job=job, fence=attempt + 1: house.steps_of(job, fence))
            resumed.append(round(time.monotonic() - killed, 2))
        house.wait_until_all_ended()
        assert house.job(job).attempts == 2
        assert max(lost_steps(house, job)) <= SAVE_EVERY
    house.history().check()
    say_figures("R2", {"resumed [s]": sorted(resumed)})
    assert worker.process.poll() is None
    assert max(resumed) <= RESUME_SECONDS


def test_r3_no_trainer_outlives_its_worker(each_house):
    house, gone = each_house, []
    jobs = house.submit(4, count=1000, seconds_each=0.1)
    house.start_workers(4)
    for job in jobs:
        house.wait_for_step(job, 1)
    for worker in house.workers:
        [child] = worker.children()
        worker.kill()
        killed = time.monotonic()
        wait_for(lambda child=child: not is_running(child), ORPHAN_SECONDS)
        gone.append(round(time.monotonic() - killed, 2))
    say_figures("R3", {"gone [s]": sorted(gone)})


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_r19_a_rolling_restart_uses_no_attempt_and_loses_no_step(each_house):
    house = each_house
    jobs = house.submit(2, count=150, seconds_each=0.1)  # no checkpoints but those that SIGTERM makes
    house.start_workers(2)
    ended = []
    for number in range(2):
        wait_for(lambda: len(house.running()) == 2)
        for job in house.running():
            wait_for(lambda job=job: house.steps_of(job.id, job.fence))
        house.start_workers(1)
        asked = time.monotonic()
        assert house.workers[number].end() == 0
        ended.append(round(time.monotonic() - asked, 2))
    house.wait_until_all_ended()
    history = house.history()
    history.check()
    lost = [steps for job in jobs for steps in lost_steps(house, job)]
    say_figures("R19", {"worker ended [s]": ended, "lost steps": lost})
    assert [house.job(job).attempts for job in jobs] == [0, 0]
    assert len(lost) == 2
    assert max(lost) <= 1
