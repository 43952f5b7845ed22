"""Asks the workers of the lane `light` short questions with one answer each. The web side; knows no question's meaning.

A question travels as a Celery message, its answer by a list of one that lapses by itself. A sorted set a person holds
the questions they wait for, counted for the whole installation; what a dead process left there lapses by its time.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models.domain.errors import AppError, Code, Unavailable, from_json
from models.domain.ids import new_id
from models.domain.question import ANSWER_SECONDS, Answered, Asked, Question
from models.infra.broker import Broker

AT_ONCE = 6  # questions one person waits for at a time
KEPT_SECONDS = 60  # how long an answer that nobody fetched stays
SOCKET_SLACK_SECONDS = 5.0  # a blocking read waits on the server; the socket waits longer


class Questions:
    """Safe to share between threads: each waits by a connection of its own."""

    def __init__(self, broker: Broker, redis_url: str) -> None:
        self._broker = broker
        self._redis: Redis = Redis.from_url(
            redis_url, socket_connect_timeout=2, socket_timeout=ANSWER_SECONDS + SOCKET_SLACK_SECONDS,
            decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip

    def ask(self, asked: Asked, seconds: float = ANSWER_SECONDS, person: str | None = None) -> dict[str, Any]:
        """The answer, a JSON object as the question's kind defines.

        Raises what the worker raised, Unavailable(timed_out) where nobody answered within `seconds`, Unavailable where
        the broker is away, and AppError(rate_limited) while `person` waits for too many others.
        """
        now = datetime.now(UTC)
        question = Question(
            question_id=new_id("question"), deadline_at=now + timedelta(seconds=seconds), asked=asked
        )  # fmt: skip
        try:
            self._take_place(person, question.question_id, seconds)
            try:
                self._broker.put_question(question.model_dump_json(), seconds)
                heard: Any = self._redis.blpop([answer_key(question.question_id)], timeout=seconds)
            finally:
                if person is not None:
                    self._redis.zrem(_places(person), question.question_id)
        except (RedisError, OSError) as error:
            raise Unavailable("The queue's broker does not answer. Try again in a few seconds.") from error
        if heard is None:
            raise Unavailable(
                f"No answer came within {seconds:.0f} s: the workers of the lane light are busy or gone. Try again.",
                code=Code.TIMED_OUT,
            )
        answered = Answered.model_validate_json(heard[1])
        if answered.error is not None:
            raise from_json(answered.error)
        return answered.answer or {}

    def close(self) -> None:
        self._redis.close()

    def _take_place(self, person: str | None, question_id: str, seconds: float) -> None:
        if person is None:
            return
        key, now = _places(person), time.time()
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(key, "-inf", now)
            pipe.zadd(key, {question_id: now + seconds})
            pipe.expire(key, KEPT_SECONDS)
            pipe.zcard(key)
            waiting = int(pipe.execute()[-1])
        if waiting > AT_ONCE:
            self._redis.zrem(key, question_id)
            raise AppError(
                f"You wait for {AT_ONCE} previews already, the most at a time. Wait for one of them and ask again.",
                code=Code.RATE_LIMITED,
            )


def answer_key(question_id: str) -> str:
    """Where the worker pushes its one Answered, which it lets lapse after KEPT_SECONDS."""
    return f"tuneroom:question:{question_id}"


def _places(person: str) -> str:
    return f"tuneroom:questions:{person}"
