"""The chat worker: takes ChatRequests from the lane `chat`, hands them to the engine, tells tokens to the stream.

`python -m worker.chat_app`, one of the two Celery entry files. The pool's threads wait; one thread of the engine
owns the models. Preloads nothing. SIGTERM (or the end of the keeper) ends the running answer within seconds.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

import structlog
from celery import Celery
from celery.signals import worker_shutting_down

from models.db.engine import Database
from models.domain.chat import ChatRequest, Failed, TokenEvent
from models.domain.errors import AppError, Code, Unavailable
from models.domain.job import Lane
from models.infra.broker import ANSWER_TASK, make_celery
from models.infra.lifeline import end_with_keeper
from models.infra.quiet import QUIET
from models.infra.settings import Settings
from models.infra.storage import Storage
from models.infra.streams import Streams
from worker.cache import Cache
from worker.device_cap import cap_device_memory
from worker.importing import importing
from worker.jobs_app import wait_until_migrated
from worker.logs import log_plainly
from worker.presence import Presence
from worker.tidying import Tidying
from worker.waiting import WAITING

LOOK_SECONDS = 0.25  # between two looks at Redis for a stop or a reader that left, whatever the speed of tokens
GRACE_SECONDS = 5.0  # of a shutdown, for the running answer to end by itself
CELERY_END_SECONDS = 10.0  # a warm shutdown waits for a broker that is away; then we end without it

log = structlog.get_logger()


def main() -> None:
    """Serve the chat lane until SIGTERM. Returns after the running answer has ended or failed."""
    log_plainly()
    settings = Settings()
    _set_environment(_threads(settings))
    end_with_keeper()
    database = Database(settings.database)
    wait_until_migrated(database)
    app, close = build(settings)
    settings.jobs_dir.mkdir(parents=True, exist_ok=True)
    Tidying(database, Cache(settings, Storage(settings.storage)), settings).start()  # a machine may only chat
    presence = Presence(
        settings, database, lane=Lane.CHAT, device=settings.chat_device, slots=settings.chat_concurrency
    ).start()
    worker_shutting_down.connect(lambda **_: _begin_to_end(close, presence), weak=False)
    log.info("worker started", worker=presence.worker_id, lane=Lane.CHAT, device=settings.chat_device)
    try:
        serve(app, settings.chat_concurrency)
    finally:
        presence.stop()
        log.info("worker stopped", worker=presence.worker_id)


def build(settings: Settings) -> tuple[Celery, Callable[[], None]]:
    """The Celery application with its one task, and what ends the engine."""
    with importing():
        from worker.chat.engine import Engine  # loads torch: after the thread settings are in the environment

    streams = Streams(settings.redis_py_url)
    cache = Cache(settings, Storage(settings.storage))
    if (done := cap_device_memory(settings.chat_device, settings.chat_device_memory_bytes)) is not None:
        log.info("device memory", cap=done)
    engine = Engine(
        device=settings.chat_device, memory_bytes=resident_bytes(settings),
        threads=_threads(settings), fetch=cache.using_tree,
    )  # fmt: skip
    app = make_celery(settings)

    @app.task(name=ANSWER_TASK)
    def answer(request_json: str) -> None:
        request = ChatRequest.model_validate_json(request_json)
        answer_one(engine.answer, streams, request)

    return app, lambda: engine.close(GRACE_SECONDS)


def serve(app: Celery, concurrency: int) -> None:
    """Celery's worker on the chat lane, in this thread, until a warm shutdown."""
    worker = app.Worker(
        pool="threads", concurrency=concurrency, queues=[Lane.CHAT.value], loglevel="WARNING", quiet=True,
        without_gossip=True, without_mingle=True, without_heartbeat=True,
        hostname=f"{Lane.CHAT.value}-{os.getpid()}@{socket.gethostname()}",
    )  # fmt: skip
    worker.start()


Answer = Callable[[ChatRequest, Callable[[TokenEvent], object], Callable[[], bool]], None]


def answer_one(answer: Answer, streams: Streams, request: ChatRequest) -> None:
    """Answer one request into its stream. The door where every fault becomes a Failed event."""
    name = request.request_id
    try:
        if not streams.begin(name):
            return
        if not streams.has_reader(name):
            log.info("request dropped: nobody reads it", request=name)
            return
        answer(request, lambda event: streams.append(name, event), Watch(streams, name).is_unwanted)
    except AppError as error:
        log.info("answer failed", request=name, code=error.code, why=error.message)
        _tell_failure(streams, name, error)
    except Exception:
        log.exception("unexpected error while answering", request=name)
        _tell_failure(streams, name, _internal())


class Watch:
    """Looks at Redis now and then whether the answer is still wanted."""

    def __init__(self, streams: Streams, request_id: str) -> None:
        self._streams, self._id = streams, request_id
        self._looked_at = 0.0
        self._unwanted = False

    def is_unwanted(self) -> bool:
        """True once somebody asked to stop, or nobody reads any more."""
        if not self._unwanted and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._unwanted = self._streams.stop_asked(self._id) or not self._streams.has_reader(self._id)
        return self._unwanted


def _tell_failure(streams: Streams, request_id: str, error: AppError) -> None:
    try:
        streams.append(request_id, Failed(error=error.to_json()))
    except Unavailable:
        log.warning("the broker is away, so a failure could not be told", request=request_id, why=error.message)


def _internal() -> AppError:
    return AppError(
        "Something unexpected stopped this answer; the chat worker's log has the details. Ask again, and tell an "
        "administrator if it happens twice.",
        code=Code.INTERNAL,
    )


def resident_bytes(settings: Settings) -> int:
    """What models may keep: no more than the device's cap, so that an old one leaves before a new one fails."""
    cap_bytes = settings.chat_device_memory_bytes
    if settings.chat_device == "cpu" or cap_bytes is None:
        return settings.chat_memory_bytes
    return min(settings.chat_memory_bytes, cap_bytes)


def _threads(settings: Settings) -> int:
    return settings.threads or os.cpu_count() or 1


def _set_environment(threads: int) -> None:
    """Before torch is loaded."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.update(QUIET)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _begin_to_end(close: Callable[[], None], presence: Presence) -> None:
    """From a signal handler: a thread ends the engine, and the process too, should Celery wait for a dead broker."""

    def end() -> None:
        close()
        time.sleep(GRACE_SECONDS + CELERY_END_SECONDS)
        log.warning("ended without the broker", worker=presence.worker_id)
        presence.stop()
        os._exit(0)

    threading.Thread(target=end, name="last-exit", daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except AppError as error:
        sys.exit(error.message)
