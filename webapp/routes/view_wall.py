"""What of Gradio's own routes anybody may reach. Gradio is a view and never our wall (decisions 13, 14).

Open are the pages, their assets, and the few routes that events need; everything else does not exist. A session hash
is made by the browser, so it is bound here to the first person who used it. No page takes a file through Gradio, so a
body that names one is refused before Gradio reads it.
"""

import json
import re
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.domain.access import Member
from models.domain.errors import AppError, NotFound
from models.domain.ids import UserId
from webapp import words
from webapp.routes.answers import answer

PAGE_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'self'; "
    "object-src 'none'; frame-ancestors 'none'"
)
OPEN_GET = re.compile(
    r"/(assets|static|svelte)/.*|/theme\.css|/config/?|/gradio_api/(theme\.css|startup-events|app_id|queue/data)"
    r"|/gradio_api/heartbeat/[A-Za-z0-9_-]+"
)
OPEN_POST = re.compile(r"/gradio_api/(run/predict|queue/join|cancel|reset)/?")
MOST_HASHES = 20_000
LONGEST_BODY_BYTES = 1_000_000


class ViewWall:
    """Stands between our routes and the mounted view."""

    def __init__(self, app: ASGIApp, pages: frozenset[str]) -> None:
        self.app = app
        self._pages = pages
        self._owner_of: OrderedDict[str, UserId] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            member = self._check(scope)
            self._bind(member, _hash_in_address(scope))
            if scope["method"] == "POST":
                body = await _read(receive)
                self._bind(member, _hash_in_body(body))
                receive = _again(body, receive)
        except AppError as error:
            await answer(error, scope["method"])(scope, receive, send)
            return
        await self.app(scope, receive, _with_policy(send))

    def _check(self, scope: Scope) -> Member:
        member, path = scope.get("state", {}).get("principal"), scope["path"]
        if isinstance(member, Member):
            if scope["method"] in ("GET", "HEAD") and (path in self._pages or OPEN_GET.fullmatch(path)):
                return member
            if scope["method"] == "POST" and OPEN_POST.fullmatch(path):
                return member
        raise NotFound(words.no_such_address(path))

    def _bind(self, member: Member, session_hash: str | None) -> None:
        """The first person who uses a hash owns it; to others it does not exist."""
        if session_hash is None:
            return
        owner = self._owner_of.setdefault(session_hash, member.user)
        self._owner_of.move_to_end(session_hash)
        if owner != member.user:
            raise NotFound("This page belongs to somebody else. Reload yours.")
        while len(self._owner_of) > MOST_HASHES:
            self._owner_of.popitem(last=False)


def _hash_in_address(scope: Scope) -> str | None:
    if scope["path"].startswith("/gradio_api/heartbeat/"):
        return scope["path"].rsplit("/", 1)[1]
    return (parse_qs(scope["query_string"].decode("latin-1")).get("session_hash") or [None])[0]


def _hash_in_body(body: bytes) -> str | None:
    """Raises NotFound for what no page of ours sends: not an object, or one that names a file."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or _names_a_file(told):
        raise NotFound("This is not something a page of Tuneroom sends. Reload the page.")
    session_hash = told.get("session_hash")
    return session_hash if isinstance(session_hash, str) else None


def _names_a_file(value: Any) -> bool:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as found:
                if "path" in found or "_type" in found or "orig_name" in found:
                    return True
                waiting.extend(found.values())
            case list() as found:
                waiting.extend(found)
    return False


async def _read(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LONGEST_BODY_BYTES:
            raise NotFound("This is more than a page of Tuneroom sends. Reload the page.")
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    is_told = False

    async def receive_again() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _with_policy(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"content-security-policy", PAGE_CSP.encode())]
        await send(message)

    return send_with_policy
