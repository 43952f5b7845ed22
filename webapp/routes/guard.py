"""Nobody passes without a principal, except to the health addresses. Knows keys; session cookies come beside them."""

import time

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from models.domain.access import Principal
from models.domain.errors import AppError, NotFound, NotSignedIn
from models.domain.ids import KeyId
from webapp import words
from webapp.actions.sign_in import principal_of_key, record_key_use
from webapp.deps import Deps
from webapp.routes.answers import answer

ANONYMOUS = frozenset({"/healthz", "/readyz"})
USE_RECORDED_EVERY_SECONDS = 60.0  # a write per request would be a lock per request


class Guard:
    """Puts the principal into the request's state, or answers 401 before any route is looked at."""

    def __init__(self, app: ASGIApp, deps: Deps) -> None:
        self.app = app
        self.deps = deps
        self._recorded: dict[KeyId, float] = {}  # when this process last wrote a key's use, monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "lifespan" or (scope["path"] in ANONYMOUS and scope["method"] in ("GET", "HEAD")):
            await self.app(scope, receive, send)
            return
        try:
            principal = await anyio.to_thread.run_sync(self._who, Headers(scope=scope))
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                raise NotFound(words.no_such_address(scope["path"]))  # PostgreSQL refuses NUL with a driver error
        except AppError as error:
            await answer(error, scope["method"])(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = principal
        await self.app(scope, receive, send)

    def _who(self, headers: Headers) -> Principal:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotSignedIn(
                "No API key was sent. Send the header 'Authorization: Bearer tr-...'; "
                "`tuneroom key create --user EMAIL` makes a key."
            )
        key = principal_of_key(self.deps.database, secret.strip())
        now = time.monotonic()
        if now - self._recorded.get(key.key, -USE_RECORDED_EVERY_SECONDS) >= USE_RECORDED_EVERY_SECONDS:
            self._recorded[key.key] = now
            record_key_use(self.deps.database, key.key)
        return key
