"""Ends an open event stream soon after its caller was signed out, disabled or lost the key. Knows no sign-ins itself.

The guard asks once, when a request comes; a stream may stay open for hours after that.
"""

import asyncio
from collections.abc import Callable

import anyio
import anyio.to_thread
import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.domain.errors import AppError, NotSignedIn

log = structlog.get_logger()

RECHECK_SECONDS = 10.0

Ask = Callable[[], object]


async def while_known(app: ASGIApp, scope: Scope, receive: Receive, send: Send, ask: Ask, seconds: float) -> None:
    """Run the app; once `ask` raises NotSignedIn, an event stream is told that the browser is gone, and ends."""
    stream = _Stream(receive, send, ask, seconds)
    try:
        await app(scope, stream.receive, stream.send)
    finally:
        stream.stop_asking()
    await stream.end()


class _Stream:
    """The server's `receive` and `send`, with the news that the caller is gone mixed in."""

    def __init__(self, receive: Receive, send: Send, ask: Ask, seconds: float) -> None:
        self._receive, self._send, self._ask, self._seconds = receive, send, ask, seconds
        self._gone = anyio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._has_body = False
        self._has_ended = False

    async def receive(self) -> Message:
        if not self._has_body:  # a body is never raced with: a part of it could get lost
            message = await self._receive()
            self._has_body = not message.get("more_body", False)
            return message
        told: list[Message] = [{"type": "http.disconnect"}]

        async def wait_for_news() -> None:
            told[0] = await self._receive()
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_news)
            await self._gone.wait()
            group.cancel_scope.cancel()
        return told[0]

    async def send(self, message: Message) -> None:
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start" and _is_event_stream(message):
            self._asking = asyncio.create_task(self._keep_asking())
        self._has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    def stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def end(self) -> None:
        if self._gone.is_set() and not self._has_ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_asking(self) -> None:
        while True:
            await anyio.sleep(self._seconds)
            try:
                await anyio.to_thread.run_sync(self._ask)
            except NotSignedIn:
                self._gone.set()
                return
            except AppError as error:  # a database that is busy says nothing about the caller
                log.warning("the caller of an open stream was not asked for", reason=error.message)


def _is_event_stream(message: Message) -> bool:
    return Headers(raw=list(message["headers"])).get("content-type", "").startswith("text/event-stream")
