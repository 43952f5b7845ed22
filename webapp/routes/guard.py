"""Nobody passes without a principal, except to the few addresses below. Knows keys and browser cookies.

A key opens the programs' interface only; the pages and the view's own routes need a signed-in person. With a cookie,
whatever changes something must come from our own pages: a browser says so in Origin and Sec-Fetch-Site.
"""

import re
import time
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from models.domain.access import Member, Principal
from models.domain.errors import AppError, Forbidden, NotFound, NotSignedIn
from models.domain.ids import KeyId, SignInId
from webapp import words
from webapp.actions.sessions import member_of_cookie, record_seen
from webapp.actions.sign_in import principal_of_key, record_key_use
from webapp.deps import Deps
from webapp.routes.answers import answer
from webapp.routes.cookie import cookie_of
from webapp.routes.entrance import sign_in_page
from webapp.routes.open_streams import RECHECK_SECONDS, while_known

ANONYMOUS = frozenset({"/healthz", "/readyz"})
SAFE = ("GET", "HEAD")
OPEN_TO_ALL = re.compile(r"/(login|setup/[^/]+|invite/[^/]+|s/[^/]+(/.*)?|ui/[^/]+)")  # each has its own token or none
PROGRAMS = ("/v1/", "/api/")
USE_RECORDED_EVERY_SECONDS = 60.0  # a write per request would be a lock per request


class Guard:
    """Puts the principal into the request's state, or answers 401 before any route is looked at."""

    def __init__(self, app: ASGIApp, deps: Deps, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self.app = app
        self.deps = deps
        self._recheck_seconds = recheck_seconds
        self._recorded: dict[KeyId | SignInId, float] = {}  # when this process last wrote a use, monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "lifespan" or (scope["path"] in ANONYMOUS and scope["method"] in SAFE):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            _refuse_unstorable(scope)
            if OPEN_TO_ALL.fullmatch(scope["path"]):
                _check_origin(scope, headers, self.deps.settings.public_url)
            else:
                principal = await anyio.to_thread.run_sync(self._who, scope, headers)
                scope.setdefault("state", {})["principal"] = principal
        except NotSignedIn as error:
            refused = sign_in_page(scope) if _is_navigation(scope, headers) else answer(error, scope["method"])
            await refused(scope, receive, send)
            return
        except AppError as error:
            await answer(error, scope["method"])(scope, receive, send)
            return
        if "principal" not in scope.get("state", {}):
            await self.app(scope, receive, send)
            return
        await while_known(self.app, scope, receive, send, lambda: self._who(scope, headers), self._recheck_seconds)

    def _who(self, scope: Scope, headers: Headers) -> Principal:
        token = cookie_of(headers)
        if token and "authorization" not in headers:
            _check_origin(scope, headers, self.deps.settings.public_url)
            member = member_of_cookie(self.deps.database, token)
            assert member.sign_in is not None  # it came by a cookie
            if self._is_due(member.sign_in):
                record_seen(self.deps.database, member.sign_in)
            return member
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip() or not scope["path"].startswith(PROGRAMS):
            raise NotSignedIn(
                "No API key was sent. Send the header 'Authorization: Bearer tr-...'; "
                "`tuneroom key create --user EMAIL` makes a key."
            )
        key = principal_of_key(self.deps.database, secret.strip())
        if self._is_due(key.key):
            record_key_use(self.deps.database, key.key)
        return key

    def _is_due(self, who: KeyId | SignInId) -> bool:
        now = time.monotonic()
        if now - self._recorded.get(who, -USE_RECORDED_EVERY_SECONDS) < USE_RECORDED_EVERY_SECONDS:
            return False
        self._recorded[who] = now
        return True


def signed_in(scope: Scope) -> Member | None:
    """The signed-in person of a request behind the guard; None for a key."""
    principal = scope.get("state", {}).get("principal")
    return principal if isinstance(principal, Member) else None


def _check_origin(scope: Scope, headers: Headers, public_url: str | None) -> None:
    """Raises Forbidden for a change that another site's page asks of somebody's browser (S17)."""
    if scope["method"] in SAFE:
        return
    origin, host = headers.get("origin", ""), headers.get("host", "")
    is_ours = urlsplit(origin).netloc == host or (public_url and origin == _origin_of(public_url))
    if not origin or not host or not is_ours or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Forbidden("This request did not come from Tuneroom's own pages. Open the page here and try again.")


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_navigation(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "")


def _refuse_unstorable(scope: Scope) -> None:
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise NotFound(words.no_such_address(scope["path"]))  # PostgreSQL refuses NUL with a driver error
