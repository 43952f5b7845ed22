"""One Redis Stream per answer: the chat worker appends token events, the web side follows them, also from the middle.

Two small keys stand beside each stream: "stop" (somebody asked) and "reader" (somebody listens; it lapses by
itself, so an abandoned answer is noticed within seconds). One sorted set a person holds the answers they have running,
counted for the whole installation, not for one process. Commands of Redis 6.2 only. Knows no model.
"""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models.domain.chat import TOKEN_EVENT, Done, Failed, TokenEvent
from models.domain.errors import Code, Unavailable

STREAM_SECONDS = 600  # how long an ended answer can be replayed
LONGEST_STREAM = 150_000  # events; the longest answer has 131,072 tokens
READER_SECONDS = 4.0  # without a follower for so long the answer is abandoned; less than the 5 s of R25
FROM_START = "0-0"


class Streams:
    """Both ends of every answer's stream. Safe to share between threads; `follow_async` within one event loop.

    Every method raises Unavailable when Redis does not answer.
    """

    def __init__(self, redis_url: str, reader_seconds: float = READER_SECONDS) -> None:
        # Never retried: an append repeated after a lost reply would double a token.
        options: dict[str, Any] = {
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            "decode_responses": True,
            "protocol": 2,
        }
        self._redis: Redis = Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0), **options)
        self._url, self._options = redis_url, options
        self._async: AsyncRedis | None = None
        self._reader_ms = int(reader_seconds * 1000)
        self._block_ms = self._reader_ms // 4  # a follower wakes this often to say that it is still there

    # the worker's end

    def begin(self, request_id: str) -> bool:
        """True for the first worker that asks; a message delivered twice is answered once."""
        try:
            return bool(self._redis.set(_begun(request_id), "1", nx=True, ex=STREAM_SECONDS))
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def append(self, request_id: str, event: TokenEvent) -> str:
        """Add one event and return its id; the stream's life starts anew."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                fields = {"event": event.model_dump_json()}
                pipe.xadd(_stream(request_id), fields, maxlen=LONGEST_STREAM, approximate=True)  # type: ignore[arg-type]
                pipe.expire(_stream(request_id), STREAM_SECONDS)
                return str(pipe.execute()[0])
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def stop_asked(self, request_id: str) -> bool:
        return self._exists(_stop(request_id))

    def has_reader(self, request_id: str) -> bool:
        """Whether somebody announced or followed within the last `reader_seconds`."""
        return self._exists(_reader(request_id))

    # the web side's end

    def announce_reader(self, request_id: str) -> None:
        """Say that somebody will follow. Call it before the request is sent, or a quick worker drops it."""
        try:
            self._redis.set(_reader(request_id), "1", px=self._reader_ms)
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def ask_stop(self, request_id: str) -> None:
        """The worker ends the answer at the next token; an answer not yet begun ends when its turn comes."""
        try:
            self._redis.set(_stop(request_id), "1", ex=STREAM_SECONDS)
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def take_place(self, person: str, request_id: str, most: int) -> bool:
        """Count a request whose reader was announced among its person's running answers; False if there are `most`.

        An answer without a reader is not counted any more, so what a dead process left behind lapses by itself.
        """
        key = _places(person)
        try:
            self._redis.zadd(key, {request_id: time.time()})
            self._redis.expire(key, STREAM_SECONDS)
            known: list[str] = self._redis.zrange(key, 0, -1)  # type: ignore[assignment]
            with self._redis.pipeline(transaction=False) as pipe:
                for each in known:
                    pipe.exists(_reader(each))
                gone = [each for each, has_reader in zip(known, pipe.execute(), strict=True) if not has_reader]
            if gone:
                self._redis.zrem(key, *gone)
            place: int | None = self._redis.zrank(key, request_id)  # type: ignore[assignment]
            if place is None or place < most:  # two that ask at once have different places
                return True
            self._redis.zrem(key, request_id)
            return False
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def give_place(self, person: str, request_id: str) -> None:
        """The answer is over."""
        try:
            self._redis.zrem(_places(person), request_id)
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def follow(
        self, request_id: str, from_id: str = FROM_START, silence_seconds: float = 300
    ) -> Iterator[tuple[str, TokenEvent]]:
        """Yield (id, event) after `from_id` until Done or Failed. Raises Unavailable(timed_out) after a silence."""
        last_heard = time.monotonic()
        try:
            while True:
                self._redis.set(_reader(request_id), "1", px=self._reader_ms)
                answer = self._redis.xread({_stream(request_id): from_id}, count=256, block=self._block_ms)
                for event_id, event in _events(answer):
                    from_id, last_heard = event_id, time.monotonic()
                    yield event_id, event
                    if isinstance(event, Done | Failed):
                        return
                if time.monotonic() - last_heard > silence_seconds:
                    raise _silent(silence_seconds)
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    async def follow_async(
        self, request_id: str, from_id: str = FROM_START, silence_seconds: float = 300
    ) -> AsyncIterator[tuple[str, TokenEvent]]:
        """`follow` for an event loop; closing the iterator stops saying that a reader is there."""
        redis = self._async_redis()
        last_heard = time.monotonic()
        try:
            while True:
                await redis.set(_reader(request_id), "1", px=self._reader_ms)
                answer = await redis.xread({_stream(request_id): from_id}, count=256, block=self._block_ms)
                for event_id, event in _events(answer):
                    from_id, last_heard = event_id, time.monotonic()
                    yield event_id, event
                    if isinstance(event, Done | Failed):
                        return
                if time.monotonic() - last_heard > silence_seconds:
                    raise _silent(silence_seconds)
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def close(self) -> None:
        self._redis.close()

    async def close_async(self) -> None:
        if self._async is not None:
            await self._async.aclose()

    def _exists(self, key: str) -> bool:
        try:
            return bool(self._redis.exists(key))
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    def _async_redis(self) -> AsyncRedis:
        if self._async is None:
            self._async = AsyncRedis.from_url(self._url, **self._options)
        return self._async


def _events(answer: Any) -> Iterator[tuple[str, TokenEvent]]:
    """RESP2's XREAD answers [[stream, [(id, fields), ...]]], or an empty list after a silent block."""
    for _, entries in answer:
        for event_id, fields in entries:
            yield event_id, TOKEN_EVENT.validate_json(fields["event"])


def _stream(request_id: str) -> str:
    return f"tuneroom:answer:{request_id}"


def _begun(request_id: str) -> str:
    return f"tuneroom:answer:{request_id}:begun"


def _stop(request_id: str) -> str:
    return f"tuneroom:answer:{request_id}:stop"


def _reader(request_id: str) -> str:
    return f"tuneroom:answer:{request_id}:reader"


def _places(person: str) -> str:
    return f"tuneroom:answers:{person}"


def _silent(seconds: float) -> Unavailable:
    return Unavailable(
        f"No token came for {seconds:.0f} s: the chat worker is busy, loading, or gone. Try again in a moment.",
        code=Code.TIMED_OUT,
    )


def _unavailable() -> Unavailable:
    return Unavailable("The answer's stream cannot be reached: the broker does not answer. Try again in a few seconds.")
