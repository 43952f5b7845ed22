"""Celery as a doorbell: a message names a lane, never a job. Knows no database and no job."""

import threading

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from models.domain.errors import Unavailable
from models.domain.job import Lane
from models.infra.settings import Settings

RING_TASK = "tuneroom.ring"
ANSWER_TASK = "tuneroom.answer"
QUESTION_TASK = "tuneroom.question"


def make_celery(settings: Settings) -> Celery:
    """One configured Celery application. Early ack: Redis would redeliver a long job after an hour (celery#5935)."""
    app = Celery("tuneroom", broker=settings.celery_url, set_as_current=False)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=Lane.LIGHT,
        task_create_missing_queues=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_max": 0.1},
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_retry=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": "tuneroom:",
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "health_check_interval": 5,
        },
    )
    return app


class Broker:
    """Rings lanes and counts unanswered bells."""

    def __init__(self, settings: Settings) -> None:
        self._celery = make_celery(settings)
        self._redis = Redis.from_url(settings.redis_py_url, socket_timeout=2, socket_connect_timeout=1)
        self._lock = threading.Lock()

    def ring(self, lane: Lane) -> None:
        """Wake one worker of `lane`. Raises Unavailable within about 2 s; the row waits and the sweep rings again."""
        try:
            self._redis.ping()  # fails at once where a publish would wait for its retries
            with self._lock:
                self._celery.send_task(RING_TASK, args=[lane.value], queue=lane.value)
        except (RedisError, OperationalError, OSError) as error:
            raise Unavailable(
                "The queue's broker does not answer; the job waits and starts when it is back."
            ) from error

    def ask(self, request_json: str) -> None:
        """Put one ChatRequest before the chat workers."""
        try:
            self._redis.ping()
            with self._lock:
                self._celery.send_task(ANSWER_TASK, args=[request_json], queue=Lane.CHAT.value)
        except (RedisError, OperationalError, OSError) as error:
            raise Unavailable("The queue's broker does not answer. Try again in a few seconds.") from error

    def put_question(self, question_json: str, seconds: float) -> None:
        """Put one Question before the workers of the lane `light`; after `seconds` nobody takes it any more."""
        try:
            self._redis.ping()
            with self._lock:
                self._celery.send_task(QUESTION_TASK, args=[question_json], queue=Lane.LIGHT.value, expires=seconds)
        except (RedisError, OperationalError, OSError) as error:
            raise Unavailable("The queue's broker does not answer. Try again in a few seconds.") from error

    def bells(self, lane: Lane) -> int:
        """How many rings of `lane` nobody has answered yet."""
        try:
            return int(self._redis.llen(f"tuneroom:{lane.value}"))  # type: ignore[arg-type]
        except (RedisError, OSError) as error:
            raise Unavailable("The queue's broker does not answer.") from error

    def is_alive(self) -> bool:
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        self._celery.close()
        self._redis.close()
