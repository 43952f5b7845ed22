"""The worker of the lanes `jobs` and `light`: `python -m worker.jobs_app jobs|light`. Builds things; holds no logic.

Celery is the doorbell: its pool threads answer bells, one thread a slot, and in the lane `light` short questions, for
which some threads are always free. SIGTERM (or the end of the keeper) means
drain: children checkpoint, jobs are released, and Celery's warm shutdown then ends by itself.
"""

import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import structlog
from celery import Celery
from celery.signals import worker_shutting_down

from models.db.engine import Database
from models.db.migrations import head, revision_of
from models.domain.errors import AppError, Unavailable
from models.domain.job import Lane
from models.domain.question import QUESTION
from models.infra.answers import Answers
from models.infra.broker import QUESTION_TASK, RING_TASK, Broker, make_celery
from models.infra.care import Carer
from models.infra.lifeline import when_keeper_ends
from models.infra.settings import Settings
from models.infra.storage import Storage
from models.infra.sweep import Sweeper
from worker.cache import Cache
from worker.logs import log_plainly
from worker.mirror import Mirror
from worker.presence import Presence
from worker.slots import Slots
from worker.standby import standby_for
from worker.supervise import Desk
from worker.tidying import Tidying

if TYPE_CHECKING:
    from worker.questions import Questions

MIGRATED_WITHIN_SECONDS = 60.0
QUESTION_THREADS = 4  # of the lane light, which no bell takes
CELERY_END_SECONDS = 5.0  # a warm shutdown waits for a broker that is away; then we end without it

log = structlog.get_logger()


def main(lane: Lane) -> None:
    """Work until told to stop. Returns when every child has ended and every job is settled or given back."""
    log_plainly()
    threading.excepthook = _end_after_a_broken_thread
    settings = Settings()
    if lane is Lane.LIGHT:
        settings = settings.model_copy(update={"slots": settings.light_slots})
    settings.jobs_dir.mkdir(parents=True, exist_ok=True)
    database, storage = Database(settings.database), Storage(settings.storage)
    wait_until_migrated(database)
    drain = threading.Event()
    desk = Desk(
        settings=settings, database=database, storage=storage, cache=Cache(settings, storage),
        device=settings.device if lane is Lane.JOBS else "cpu", drain=drain,
        standby=standby_for(settings, settings.device) if lane is Lane.JOBS else None,
    )  # fmt: skip
    presence = Presence(settings, database, lane=lane, device=desk.device, slots=settings.slots).start()
    slots = Slots(desk, lane, presence.worker_id)
    broker = Broker(settings)
    sweeper = Sweeper(database, broker, settings).start()
    carer = Carer(database, storage, settings).start()
    Tidying(database, desk.cache, settings).start()
    threading.Thread(target=_look_around, args=(desk, slots), name="look", daemon=True).start()
    when_keeper_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    celery = make_celery(settings)
    hear_bells(celery, slots)
    questions, mirror = None, None
    if lane is Lane.LIGHT:
        from worker.questions import Questions  # with numpy and all formats, which the lane `jobs` does without

        questions = Questions(desk.cache)
        hear_questions(celery, questions, Answers(settings.redis_py_url))
        questions.warm_up()
        mirror = Mirror(database, settings).start()
    worker_shutting_down.connect(lambda **_: _begin_drain(desk, slots, presence), weak=False)
    if desk.standby is not None:
        desk.standby.prepare()
    log.info("worker started", worker=presence.worker_id, lane=lane, slots=settings.slots, device=desk.device)
    try:
        # One more thread than slots: of the bells that find no slot free, one waits for it.
        serve(celery, lane, settings.slots if questions is None else settings.slots + 1 + QUESTION_THREADS)
    finally:
        drain.set()
        if questions is not None:
            questions.close()
        if mirror is not None:
            mirror.stop()
        if desk.standby is not None:
            desk.standby.close()
        sweeper.stop()
        carer.stop()
        _end(desk, slots, presence)


def hear_bells(celery: Celery, slots: Slots) -> None:
    """Every ring is answered by a pool thread; the lane it names is the queue it came by."""

    @celery.task(name=RING_TASK)
    def ring(_lane: str) -> None:
        slots.answer()


def hear_questions(celery: Celery, questions: "Questions", answers: Answers) -> None:
    """Every question is answered by a pool thread, while others work on jobs."""

    @celery.task(name=QUESTION_TASK)
    def answer(question_json: str) -> None:
        try:
            question = QUESTION.validate_json(question_json)
        except ValueError:
            log.warning("question ignored: it is none")
            return
        try:
            if (answered := questions.answer(question)) is not None:
                answers.tell(question.question_id, answered)
        except Unavailable as error:
            log.warning("answer not told", question=question.question_id, why=error.message)


def serve(celery: Celery, lane: Lane, threads: int) -> None:
    """Celery's worker on one lane, in this thread, until a warm shutdown."""
    worker = celery.Worker(
        pool="threads", concurrency=threads, queues=[lane.value], loglevel="WARNING", quiet=True,
        without_gossip=True, without_mingle=True, without_heartbeat=True,
        hostname=f"{lane}-{os.getpid()}@{socket.gethostname()}",
    )  # fmt: skip
    worker.start()


def wait_until_migrated(database: Database) -> None:
    """Somebody else migrates (`up`, or `tuneroom migrate`). Raises AppError when nobody does in time."""
    wanted = head()
    deadline = time.monotonic() + MIGRATED_WITHIN_SECONDS
    while not database.is_alive() or revision_of(database.writer) != wanted:
        if time.monotonic() > deadline:
            raise AppError(f"The database is not at revision {wanted}. Run `tuneroom migrate`, then start again.")
        time.sleep(0.2)


def _look_around(desk: Desk, slots: Slots) -> None:
    """Look for work that no bell announced: the broker may be away."""
    while not desk.drain.wait(desk.settings.sweep_seconds):
        try:
            slots.look()
        except Unavailable as error:
            log.warning("did not look for work", why=error.message)


def _end_after_a_broken_thread(broken: threading.ExceptHookArgs) -> None:
    """A worker that lost a thread is half a worker: give everything back in order, and be started again."""
    exc_info = (broken.exc_type, broken.exc_value, broken.exc_traceback)
    log.error("thread broken", thread=broken.thread.name if broken.thread else None, exc_info=exc_info)
    os.kill(os.getpid(), signal.SIGTERM)


def _begin_drain(desk: Desk, slots: Slots, presence: Presence) -> None:
    """From a signal handler: only set the flag. A thread sees to our end, should Celery wait for a dead broker."""
    if desk.drain.is_set():
        return
    desk.drain.set()
    threading.Thread(target=_end_without_celery, args=(desk, slots, presence), name="last-exit", daemon=True).start()


def _end_without_celery(desk: Desk, slots: Slots, presence: Presence) -> None:
    _wait_until_idle(slots, desk.settings.drain_seconds)
    time.sleep(CELERY_END_SECONDS)
    log.warning("ended without the broker", worker=presence.worker_id)
    presence.stop()
    os._exit(0)


def _end(desk: Desk, slots: Slots, presence: Presence) -> None:
    _wait_until_idle(slots, desk.settings.drain_seconds)
    presence.stop()
    log.info("worker stopped", worker=presence.worker_id)


def _wait_until_idle(slots: Slots, drain_seconds: float) -> None:
    """Supervisors KILL their children at drain_seconds; a little more for their last writes."""
    deadline = time.monotonic() + drain_seconds + CELERY_END_SECONDS
    while not slots.are_idle and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    try:
        main(Lane(sys.argv[1]))
    except AppError as error:
        sys.exit(error.message)
