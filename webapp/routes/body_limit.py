"""Counts what a request sends, before any route reads it: refused from its length where it says one, else cut off."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.domain.errors import TooLarge
from webapp import words
from webapp.routes.answers import answer

BODY_LIMIT_BYTES = 1_000_000
FORM_ALLOWANCE_BYTES = 100_000  # boundaries and fields around an upload
UPLOAD = ("POST", "/v1/files")


class BodyLimit:
    """Stands behind the guard, so that nobody without a key makes us read a body."""

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self.app = app
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = (scope["method"], scope["path"]) == UPLOAD
        limit = self._max_upload_bytes + FORM_ALLOWANCE_BYTES if is_upload else BODY_LIMIT_BYTES
        said = Headers(scope=scope).get("content-length", "")
        sentence = words.too_large(self._max_upload_bytes if is_upload else BODY_LIMIT_BYTES)
        if said.isdecimal() and int(said) > limit:
            await answer(TooLarge(sentence), scope["method"])(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, sentence)  # the one exception that body parsing lets through
            return message

        await self.app(scope, receive_counted, send)
