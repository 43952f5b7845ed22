"""A whole house for tests: a real broker, a real database, real workers as processes, and the history they leave.

Times are a tenth of production's. `History` is the one judge of every fault test: no accepted job is lost, no job
commits twice, every move is legal and every fence rises by one.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from redis import Redis
from sqlalchemy import select

from models.db.engine import Database
from models.db.tables import Job, JobEvent, Worker
from models.domain.job import JobState, Lane, check_move
from models.domain.progress import StepDone
from models.infra import valkey
from models.infra.broker import Broker
from models.infra.settings import Settings
from tests.databases import new_sqlite
from tests.forked_workers import crew
from tests.people import make_job
from worker.jobdir import JobDir

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
SCALE = int(os.environ.get("FAULT_SCALE", "1"))  # more of each fault, for a night
TENTH = {
    "lease_seconds": 3, "heartbeat_seconds": 0.1, "sweep_seconds": 1, "cancel_grace_seconds": 1.5, "drain_seconds": 5,
    "child_silence_seconds": 2.5, "no_progress_seconds": 60,  # a first import of torch takes over 12
    "warm_child": "off",
}  # fmt: skip


def wait_for(condition: Callable[[], T], seconds: float = 120.0, every: float = 0.05) -> T:
    """The first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)
    return found


def living_children() -> set[psutil.Process]:
    """Every process below this one that has not ended."""
    return {each for each in psutil.Process().children(recursive=True) if each.is_running() and _lives(each)}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class WorkerProcess:
    """One `worker.jobs_app`, in its own process group, kept alive by its stdin as the keeper does."""

    def __init__(self, settings: Settings, lane: Lane, log: Path, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUNEROOM_")}
        self.process = crew().start(
            lane,
            log,
            inherited | settings.child_environment() | {"PYTHONPATH": str(ROOT), "TUNEROOM_KEPT": "1"} | environment,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[psutil.Process]:
        """The trainers it runs now."""
        return psutil.Process(self.pid).children(recursive=True)

    def kill(self) -> None:
        """kill -9 of the worker's process group. Its children have groups of their own."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def ask_to_end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self, seconds: float = 30) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.ask_to_end()
        return self.process.wait(seconds)


class House:
    """Everything below one directory. Use it through the fixtures `house` and `each_house`."""

    def __init__(self, home: Path, database_url: str, **settings) -> None:
        self.settings = Settings(data_dir=home, database_url=database_url, **(TENTH | settings))
        self.database = Database(database_url)
        self.broker_process = valkey.start(self.settings)
        self.broker = Broker(self.settings)
        self.workers: list[WorkerProcess] = []
        self.accepted: list[str] = []

    @property
    def redis(self) -> Redis:
        return Redis.from_url(self.settings.redis_py_url)

    def start_worker(self, lane: Lane = Lane.JOBS, **environment: str) -> WorkerProcess:
        log = self.settings.data_dir / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(self.settings, lane, log, **environment)
        self.workers.append(worker)
        return worker

    def start_workers(self, count: int, lane: Lane = Lane.JOBS) -> list[WorkerProcess]:
        """Several at once, ready to hear a bell."""
        before = len(self.workers)
        started = [self.start_worker(lane) for _ in range(count)]
        for number in range(before, before + count):
            log = self.settings.data_dir / f"worker-{number}.log"
            wait_for(lambda log=log: b"worker started" in log.read_bytes())
        return started

    def submit(self, jobs: int = 1, /, *, ring: bool = True, **toy) -> list[str]:
        """Accept toy jobs and ring for each, as the web process does."""
        ids = [make_job(self.database, **toy).id for _ in range(jobs)]
        self.accepted += ids
        if ring:
            for _ in ids:
                self.broker.ring(Lane.JOBS)
        return ids

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def jobs(self) -> list[Job]:
        with self.database.read() as session:
            return list(session.scalars(select(Job).where(Job.id.in_(self.accepted))))

    def running(self) -> list[Job]:
        return [job for job in self.jobs() if job.state == JobState.RUNNING]

    def worker_of(self, job: Job) -> WorkerProcess:
        """Who runs it now."""
        assert job.owner is not None
        with self.database.read() as session:
            pid = session.get_one(Worker, job.owner).pid
        return next(worker for worker in self.workers if worker.pid == pid)

    def wait_until_all_ended(self, seconds: float = 90) -> None:
        wait_for(lambda: all(JobState(job.state).is_terminal for job in self.jobs()), seconds, every=0.1)

    def wait_for_step(self, job_id: str, step: int, seconds: float = 60) -> None:
        """The job has said this step, and the database has heard it."""
        wait_for(lambda: (self.job(job_id).done or 0) >= step, seconds)

    def stop_broker(self) -> None:
        assert self.broker_process is not None and self.broker_process.process is not None
        self.broker_process.process.kill()
        self.broker_process.process.wait()

    def start_broker(self) -> None:
        self.broker_process = valkey.start(self.settings)

    def steps_of(self, job_id: str, fence: int) -> list[int]:
        """What one attempt counted, from its own directory."""
        said, _ = JobDir(self.settings.jobs_dir / job_id / str(fence)).said_since(0)
        return [item.step for item in said if isinstance(item, StepDone)]

    def history(self) -> "History":
        return History.read(self)

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self.broker.close()
        if self.broker_process is not None:
            self.broker_process.stop()
        self.database.close()


@dataclass(frozen=True)
class Move:
    at: datetime
    fence: int
    before: JobState | None
    after: JobState


class History:
    """Every move of every accepted job, in order."""

    def __init__(self, moves: dict[str, list[Move]]) -> None:
        self.moves = moves

    @classmethod
    def read(cls, house: House) -> "History":
        moves: dict[str, list[Move]] = {job_id: [] for job_id in house.accepted}
        with house.database.read() as session:
            events = session.scalars(select(JobEvent).where(JobEvent.type == "moved").order_by(JobEvent.id))
            for event in events:
                if event.job_id in moves:
                    data = event.data or {}
                    before = JobState(data["before"]) if "before" in data else None
                    moves[event.job_id].append(Move(event.at, event.fence, before, JobState(data["after"])))
        return cls(moves)

    def check(self, *, expected: JobState = JobState.SUCCEEDED) -> None:
        """Lost jobs 0, double commits 0, no illegal move, no fence skipped or used twice."""
        for job_id, moves in self.moves.items():
            assert moves, f"{job_id} was accepted and never heard of again"
            states = [None, *(move.after for move in moves)]
            assert [move.before for move in moves] == states[:-1], f"{job_id}: moves do not follow each other: {moves}"
            for move in moves:
                check_move(move.before, move.after)
            ends = [move for move in moves if move.after.is_terminal]
            claims = self.claims(job_id)
            assert [move.after for move in ends] == [expected], f"{job_id} ended as {ends}"
            assert [move.fence for move in claims] == list(range(1, len(claims) + 1)), f"{job_id}: fences {claims}"
            assert ends[0].fence == claims[-1].fence, f"{job_id} was committed by a stale attempt"

    def claims(self, job_id: str) -> list[Move]:
        return [move for move in self.moves[job_id] if move.after is JobState.RUNNING]

    def seconds_to_claim(self, job_id: str, since: datetime) -> float:
        """From `since` (of this machine's clock, which is the database's here) to the job's next claim."""
        return round(next((move.at - since).total_seconds() for move in self.claims(job_id) if move.at > since), 2)


@contextmanager
def open_house(home: Path, database_url: str, **settings) -> Iterator[House]:
    """A house for the length of a block; nothing it started stays."""
    home.mkdir(parents=True, exist_ok=True)
    house = House(home, database_url, **settings)
    try:
        yield house
    finally:
        house.close()


@pytest.fixture
def each_house(tmp_path: Path, database_url: str) -> Iterator[House]:
    """A house on each database, without workers yet."""
    with open_house(tmp_path / "house", database_url) as opened:
        yield opened


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house on SQLite, for behaviour that no database has a part in."""
    with open_sqlite_house(tmp_path) as opened:
        yield opened


@contextmanager
def open_sqlite_house(tmp_path: Path, **settings) -> Iterator[House]:
    with open_house(tmp_path / "house", new_sqlite(tmp_path), **settings) as opened:
        yield opened


def say_figures(test: str, figures: dict[str, object]) -> None:
    """What was measured, for the log (`pytest -rA` or -s shows it). Never asserted."""
    print(f"{test}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
