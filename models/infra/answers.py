"""Where a worker of the lane `light` leaves its answer to a short question: a list of one that lapses by itself.

The worker's end of `models.infra.questions`.
"""

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models.domain.errors import Unavailable
from models.domain.question import Answered
from models.infra.questions import KEPT_SECONDS, answer_key


class Answers:
    """Safe to share between threads."""

    def __init__(self, redis_url: str) -> None:
        # Never retried: who asked takes the first answer, and a second one would stay.
        self._redis: Redis = Redis.from_url(
            redis_url, socket_connect_timeout=2, socket_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)
        )

    def tell(self, question_id: str, answered: Answered) -> None:
        """Raises Unavailable where the broker is away."""
        key = answer_key(question_id)
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.rpush(key, answered.model_dump_json())
                pipe.expire(key, KEPT_SECONDS)
                pipe.execute()
        except (RedisError, OSError) as error:
            raise Unavailable("The broker does not answer, so an answer could not be told.") from error
