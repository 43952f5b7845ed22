"""A worker of the lane `light` inside a test: real messages, staging, work and settling, but no process of its own.

Does the jobs that wait and answers questions about data. What a job's child would do is done here, in this process:
only tests may, whose rows and templates are ours.
"""

import base64
import json
import threading
import time
from importlib import import_module

from redis import Redis

from models.db.store.system import SystemStore
from models.db.tables import Job, Worker, db_now
from models.domain.errors import AppError, from_json
from models.domain.ids import new_id
from models.domain.job import JobKind, JobState, Lane
from models.domain.question import Question
from models.infra.questions import KEPT_SECONDS, answer_key
from tests.house import House
from worker.cache import Cache
from worker.jobdir import JobDir, Order, Outcome
from worker.laying import Shelf
from worker.lease import Lease
from worker.questions import Questions
from worker.settling import Made, refused_file, store_result
from worker.staging import stage

WORK = {
    JobKind.CHECK_DATA: "worker.data.check",
    JobKind.GATE_DATA: "worker.data.gate.run",
    JobKind.COUNT_TOKENS: "worker.data.counts",
    JobKind.EDIT_DATA: "worker.data.editing",
}


class _Never:
    def asked(self) -> bool:
        return False


def do_waiting(house: House, most: int = 1000) -> int:
    """Do the jobs of the lane `light` that wait, and those they bring about; returns how many."""
    for done in range(most):
        with house.deps.database.write() as session:
            job = SystemStore(session).claim(Lane.LIGHT, "worker-test", 60)
        if job is None:
            return done
        _do(house, job)
    return most


def _do(house: House, job: Job) -> None:
    settings, storage = house.deps.settings, house.deps.storage
    jobdir = JobDir(settings.jobs_dir / job.id / str(job.fence))
    jobdir.root.mkdir(parents=True)
    lease = Lease(house.deps.database, settings, job, jobdir, time.monotonic())
    shelf = Shelf(
        settings=settings, storage=storage, cache=Cache(settings, storage), lease=lease, watch=lambda: None
    )  # fmt: skip
    kind = JobKind(job.kind)
    try:
        facts = stage(shelf, job, jobdir)
        order = Order(job=job.id, fence=job.fence, kind=kind, payload=job.spec, facts=facts, threads=1, device="cpu")
        jobdir.lay_out(order)
        outcome = import_module(WORK[kind]).run(jobdir, _Never())
        assert isinstance(outcome, Outcome)
        error = from_json(outcome.error) if outcome.error else None
    except AppError as fault:
        outcome, error = Outcome(status="failed", error=fault.to_json()), fault
    made = refused_file(storage, job, jobdir, error) if error else store_result(storage, job, jobdir, outcome)
    _settle(house, job, outcome, made, error)


def _settle(house: House, job: Job, outcome: Outcome, made: Made, error: AppError | None) -> None:
    state = JobState.FAILED if error else JobState.SUCCEEDED
    with house.deps.database.write() as session:
        SystemStore(session).settle(
            job.id, job.fence, state, result=outcome.result or None, error=error, artefact=made.artefact,
            blobs=made.blobs,
        )  # fmt: skip


class LightWorker:
    """Serves until it is closed. `paused` holds jobs back, so that a test can see what waits."""

    def __init__(self, house: House) -> None:
        self.paused = threading.Event()
        self._house, self._id = house, new_id("worker")
        self._questions = Questions(Cache(house.deps.settings, house.deps.storage))
        self._redis = Redis.from_url(house.deps.settings.redis_py_url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> "LightWorker":
        worker = Worker(
            id=self._id, host="here", pid=1, lane=Lane.LIGHT, device="cpu", slots=1, seen_at=db_now(3600)
        )  # fmt: skip
        with self._house.deps.database.write() as session:
            SystemStore(session).worker_started(worker)
        return self

    def __exit__(self, *_: object) -> None:
        with self._house.deps.database.write() as session:
            SystemStore(session).worker_stopped(self._id)
        self._over.set()
        self._thread.join()
        self._questions.close()
        self._redis.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            found = self._redis.brpop([f"tuneroom:{Lane.LIGHT}"], timeout=0.1)
            if found:
                message = json.loads(found[1])
                body = json.loads(base64.b64decode(message["body"]))
                if message["headers"]["task"].endswith("question"):
                    self._answer(Question.model_validate_json(body[0][0]))
            if not self.paused.is_set():
                do_waiting(self._house)

    def _answer(self, question: Question) -> None:
        if (said := self._questions.answer(question)) is None:
            return
        key = answer_key(question.question_id)
        self._redis.lpush(key, said.model_dump_json())
        self._redis.expire(key, KEPT_SECONDS)
