"""A chat worker that says what a test tells it: real messages from a real broker, real streams, no model."""

import base64
import json
import threading
from collections.abc import Callable, Iterable, Sequence

from redis import Redis

from models.domain.chat import ChatRequest, Delta, Done, TokenEvent
from models.infra.settings import Settings
from models.infra.streams import Streams

DONE = Done(finish_reason="stop", prompt_tokens=7, completion_tokens=3, first_token_seconds=0.1, tokens_per_second=9)
HELLO = (Delta(text="Bon"), Delta(text="jour "), Delta(text="é"), DONE)


Script = Sequence[TokenEvent] | Callable[[ChatRequest], Iterable[TokenEvent]]


class ScriptedWorker:
    """Answers every request with `script`, or with what `script` makes of it; then it says nothing more.

    `requests` is what it was asked. One answer at a time: a script that waits holds up those after it.
    """

    def __init__(self, settings: Settings, script: Script = HELLO) -> None:
        self.script = script
        self.requests: list[ChatRequest] = []
        self._redis = Redis.from_url(settings.redis_py_url)
        self._streams = Streams(settings.redis_py_url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._redis.close()
        self._streams.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            found = self._redis.brpop(["tuneroom:chat"], timeout=0.1)
            if found:
                body = json.loads(base64.b64decode(json.loads(found[1])["body"]))
                request = ChatRequest.model_validate_json(body[0][0])
                if not self._streams.has_reader(request.request_id):
                    continue  # as the real worker does
                self.requests.append(request)
                for event in self.script(request) if callable(self.script) else self.script:
                    self._streams.append(request.request_id, event)
