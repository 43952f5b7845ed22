"""What of Gradio's own routes anybody may reach. Gradio is a view and never our wall (decisions 13, 14).

Open are the pages, their assets, and the few routes that events need; everything else does not exist. A session hash
is made by the browser, so it is bound here to the first person who used it. No page takes a file through Gradio, so a
body that names one is refused. What Gradio reads is written here anew from what was checked, so that there is no
second way to understand it (repeated names, encodings, forms).
"""

import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse
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
ASSET = re.compile(r"/(assets/[^/]+|static/.+|theme\.css)")
STREAM = "/gradio_api/queue/data"
HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]+)")
OPEN_GET = ("/gradio_api/app_id", STREAM)
EVENTS = ("/gradio_api/run/predict", "/gradio_api/queue/join")
CANCEL = "/gradio_api/cancel"
OPEN_POST = (*EVENTS, CANCEL, "/gradio_api/reset")

SESSION_HASH = re.compile(r"[a-z0-9]{1,40}")
EVENT_ID = re.compile(r"[0-9a-f]{32}")
FILE_NAMES = frozenset({"path", "_type", "orig_name"})  # what each of Gradio's file objects has at least one of
LONGEST_BODY_BYTES = 1_000_000
HASHES_A_PERSON = 500  # open tabs; the oldest is forgotten first, and only the person's own
NOT_FORWARDED = re.compile(
    rb"origin|forwarded|x-forwarded-.*|x-gradio-.*|content-type|content-length|transfer-encoding"
)
HASHED_ASSET_SECONDS = 365 * 24 * 3600  # their names change with their content
OTHER_ASSET_SECONDS = 3600

NOT_OURS = "This is not something a page of Tuneroom sends. Reload the page."

IsEventOf = Callable[[str, str], bool]
"""(event id, session hash): is this event one that this session waits for?"""


class ViewWall:
    """Stands between our routes and the mounted view."""

    def __init__(self, app: ASGIApp, pages: Collection[str], is_event_of: IsEventOf) -> None:
        self.app = app
        self._pages = frozenset(pages)
        self._is_event_of = is_event_of
        self._owner_of: dict[str, UserId] = {}
        self._hashes_of: defaultdict[UserId, OrderedDict[str, None]] = defaultdict(OrderedDict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            member = _member(scope)
            match scope["method"]:
                case "GET":
                    inside = self._checked_get(member, scope)
                case "POST" if scope["path"] in OPEN_POST:
                    told = _checked_body(await _read(receive), scope["path"])
                    self._bind(member, told.get("session_hash"))
                    if scope["path"] == CANCEL and not self._is_event_of(told["event_id"], told["session_hash"]):
                        await JSONResponse({"success": True})(scope, receive, send)  # it has ended, or never was
                        return
                    inside, receive = _with_body(scope, receive, told)
                case _:
                    raise NotFound(words.no_such_address(scope["path"]))
        except AppError as error:
            await answer(error, scope["method"])(scope, receive, send)
            return
        await self.app(inside, receive, _Answer(scope, send).send)

    def _checked_get(self, member: Member, scope: Scope) -> Scope:
        path = scope["path"]
        if path == STREAM:
            asked = QueryParams(scope["query_string"]).getlist("session_hash")
            if len(asked) != 1:
                raise NotFound(NOT_OURS)
            self._bind(member, asked[0])
            return _inside(scope, b"session_hash=" + asked[0].encode())
        if beat := HEARTBEAT.fullmatch(path):
            self._bind(member, beat[1])
        elif path not in self._pages and path not in OPEN_GET and not ASSET.fullmatch(path):
            raise NotFound(words.no_such_address(path))
        return _inside(scope, b"")

    def _bind(self, member: Member, session_hash: str | None) -> None:
        """The first person who uses a hash owns it; to others it does not exist."""
        if session_hash is None:
            return
        if not SESSION_HASH.fullmatch(session_hash):
            raise NotFound(NOT_OURS)
        if self._owner_of.setdefault(session_hash, member.user) != member.user:
            raise NotFound("This page belongs to somebody else. Reload yours.")
        mine = self._hashes_of[member.user]
        mine[session_hash] = None
        mine.move_to_end(session_hash)
        while len(mine) > HASHES_A_PERSON:
            del self._owner_of[mine.popitem(last=False)[0]]


def _member(scope: Scope) -> Member:
    principal = scope.get("state", {}).get("principal")
    if not isinstance(principal, Member):
        raise NotFound(words.no_such_address(scope["path"]))
    return principal


def _checked_body(body: bytes, path: str) -> dict[str, Any]:
    """What an event says, and nothing else. Raises NotFound for what no page of ours sends."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or _names_a_file(told):
        raise NotFound(NOT_OURS)
    kept = {"session_hash": _matching(SESSION_HASH, told.get("session_hash"))}
    if path in EVENTS:
        kept |= {name: told.get(name) for name in ("data", "event_data")}
        kept |= {"fn_index": _whole(told.get("fn_index")), "trigger_id": None}
        if told.get("trigger_id") is not None:
            kept["trigger_id"] = _whole(told["trigger_id"])
        if not isinstance(kept["data"], list):
            raise NotFound(NOT_OURS)
        return kept
    if path == CANCEL:
        return kept | {"fn_index": _whole(told.get("fn_index")), "event_id": _matching(EVENT_ID, told.get("event_id"))}
    return {"event_id": ""}  # `reset` does nothing in Gradio 6


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise NotFound(NOT_OURS)
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1_000_000:
        raise NotFound(NOT_OURS)
    return value


def _names_a_file(value: Any) -> bool:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as found:
                if not FILE_NAMES.isdisjoint(found):
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


def _inside(scope: Scope, query: bytes) -> Scope:
    """The request without what Gradio would believe: where it was forwarded from, and which site may read it."""
    headers = [(name, value) for name, value in scope["headers"] if not NOT_FORWARDED.fullmatch(name)]
    return {**scope, "headers": headers, "query_string": query}


def _with_body(scope: Scope, receive: Receive, told: dict[str, Any]) -> tuple[Scope, Receive]:
    body = json.dumps(told).encode()
    inside = _inside(scope, scope["query_string"])  # the page's own address, for `asked`
    inside["headers"] += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    is_told = False

    async def receive_checked() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return inside, receive_checked


class _Answer:
    """Gradio's answer with our policy and caching; its own page for an unexpected error is left to the door."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._is_held_back = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=list(message["headers"])).get("content-type", "")
            self._is_held_back = message["status"] == 500 and kind.startswith("text/plain")
            message["headers"] = self._headers(message)
        if not self._is_held_back:
            await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = MutableHeaders(raw=list(message["headers"]))
        headers["content-security-policy"] = PAGE_CSP
        if message["status"] == 200 and ASSET.fullmatch(self._scope["path"]):
            is_named_by_content = self._scope["path"].startswith("/assets/") or self._scope["query_string"]
            seconds = HASHED_ASSET_SECONDS if is_named_by_content else OTHER_ASSET_SECONDS
            headers["cache-control"] = f"private, max-age={seconds}" + (", immutable" if is_named_by_content else "")
        return headers.raw
