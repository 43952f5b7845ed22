"""The chat worker: takes ChatRequests from the lane `chat`, hands them to the engine, tells tokens to the stream.

One of the two Celery entry files. The pool's threads wait; one thread of the engine owns the models. Preloads
nothing. `run` is what `tuneroom worker chat` calls.
"""

import logging
import os
import time
from collections.abc import Callable

from celery import Celery
from celery.signals import worker_shutting_down

from models.domain.chat import ChatRequest, Failed
from models.domain.errors import AppError, Code, Unavailable
from models.domain.job import Lane
from models.infra.broker import ANSWER_TASK, make_celery
from models.infra.settings import Settings
from models.infra.storage import Storage
from models.infra.streams import Streams
from worker.cache import Cache

LOOK_SECONDS = 0.25  # between two looks at Redis for a stop or a reader that left, whatever the speed of tokens
GRACE_SECONDS = 5.0  # of a shutdown, for the running answer to end by itself

log = logging.getLogger("tuneroom.chat")


def run(settings: Settings) -> None:
    """Serve the chat lane until SIGTERM. Returns after the running answer has ended or failed."""
    _set_environment(settings.threads or os.cpu_count() or 1)
    app, close = build(settings)
    worker_shutting_down.connect(lambda **_: close(), weak=False)
    app.worker_main(
        [
            "worker", "--pool=threads", f"--concurrency={settings.chat_concurrency}", f"--queues={Lane.CHAT.value}",
            "--without-gossip", "--without-mingle", "--loglevel=INFO", "--hostname=chat@%h",
        ]
    )  # fmt: skip


def build(settings: Settings) -> tuple[Celery, Callable[[], None]]:
    """The Celery application with its one task, and what ends the engine."""
    from worker.chat.engine import Engine  # loads torch: after the thread settings are in the environment

    streams = Streams(settings.redis_py_url)
    cache = Cache(settings, Storage(settings.storage))
    engine = Engine(
        device=settings.chat_device, memory_bytes=settings.chat_memory_bytes,
        threads=settings.threads or os.cpu_count() or 1, fetch=cache.using_tree,
    )  # fmt: skip
    app = make_celery(settings)

    @app.task(name=ANSWER_TASK)
    def answer(request_json: str) -> None:
        request = ChatRequest.model_validate_json(request_json)
        answer_one(engine.answer, streams, request)

    return app, lambda: engine.close(GRACE_SECONDS)


def answer_one(answer: Callable, streams: Streams, request: ChatRequest) -> None:
    """Answer one request into its stream. The door where every fault becomes a Failed event."""
    name = request.request_id
    try:
        if not streams.begin(name):
            return
        if not streams.has_reader(name):
            log.info("request dropped: nobody reads it any more", extra={"request": name})
            return
        answer(request, lambda event: streams.append(name, event), Watch(streams, name).is_unwanted)
    except AppError as error:
        log.info("answer failed: %s", error.message)
        _tell_failure(streams, name, error)
    except Exception:
        log.exception("unexpected error while answering")
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
        log.warning("the broker is gone, so the failure could not be told: %s", error.message)


def _internal() -> AppError:
    return AppError(
        "Something unexpected stopped this answer; the chat worker's log has the details. Ask again, and tell an "
        "administrator if it happens twice.",
        code=Code.INTERNAL,
    )


def _set_environment(threads: int) -> None:
    """Before torch is loaded. Spinning at barriers made everything six times slower beside a busy process."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


if __name__ == "__main__":
    run(Settings())
