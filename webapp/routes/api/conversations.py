"""/api/v1/conversations and /api/v1/playground: a person's saved conversations, and one prompt to all their panes.

The answers of all panes come mixed in one stream of server-sent events, because a browser opens six connections to a
host and no more. A client that goes away stops the work.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from models.domain.chat import Failed
from models.domain.errors import from_json
from webapp.actions.conversations import (
    ConversationSeen,
    Pane,
    begin_conversation,
    change_panes,
    delete_conversation,
    list_conversations,
    open_conversation,
    rename_conversation,
)
from webapp.actions.show_models import ModelSeen
from webapp.actions.show_playground import show_playground
from webapp.actions.talk import Begun, PaneEvent, Put, Talk, begin_turn
from webapp.deps import Deps
from webapp.routes.answers import body_of
from webapp.routes.asking import After, Body, Caller, Limit, Parts, unix
from webapp.views.playground import model_words

KEEP_ALIVE_SECONDS = 10.0
LONGEST_PROMPT = 100_000

router = APIRouter()
Panes = Annotated[list[Pane], Field(max_length=8)]


class NewBody(Body):
    panes: Panes
    title: str = Field(default="", max_length=2000)


class ChangeBody(Body):
    """What is left out stays. `removed` are the numbers of panes whose threads go."""

    title: str | None = Field(default=None, max_length=2000)
    panes: Panes | None = None
    removed: list[int] = Field(default=[], max_length=8)


class TurnBody(Body):
    """`prompt` None answers the last one again; `only` are the panes that answer, all where it is None."""

    panes: Panes
    prompt: str | None = Field(default=None, max_length=LONGEST_PROMPT)
    only: list[int] | None = Field(default=None, max_length=8)


@router.get("/playground")
def playground(parts: Parts, caller: Caller) -> dict[str, Any]:
    shown = show_playground(parts, caller)
    return {
        "object": "playground",
        "you": shown.person,
        "has_worker": shown.has_worker,
        "may_add_rows": shown.may_add_rows,
        "models": [_choice(seen) for seen in shown.models],
    }


@router.get("/conversations")
def listing(
    parts: Parts,
    caller: Caller,
    limit: Limit = 20,
    after: After = None,
    q: Annotated[str, Query(max_length=200)] = "",
) -> dict[str, Any]:
    page = list_conversations(parts, caller, limit=limit, after=after, words=q)
    return {"object": "list", "data": [_object(seen) for seen in page.items], "has_more": page.has_more}


@router.post("/conversations", status_code=201)
def create(parts: Parts, caller: Caller, body: NewBody) -> dict[str, Any]:
    return _object(begin_conversation(parts, caller, body.panes, body.title))


@router.get("/conversations/{conversation}")
def retrieve(parts: Parts, caller: Caller, conversation: str) -> dict[str, Any]:
    seen, spoken = open_conversation(parts, caller, conversation)
    return _object(seen) | {"messages": [asdict(message) for message in spoken]}


@router.patch("/conversations/{conversation}")
def change(parts: Parts, caller: Caller, conversation: str, body: ChangeBody) -> dict[str, Any]:
    if body.panes is not None:
        change_panes(parts, caller, conversation, body.panes, body.removed)
    if body.title is not None:
        rename_conversation(parts, caller, conversation, body.title)
    return _object(open_conversation(parts, caller, conversation)[0])


@router.delete("/conversations/{conversation}")
def delete(parts: Parts, caller: Caller, conversation: str) -> dict[str, Any]:
    delete_conversation(parts, caller, conversation)
    return {"id": conversation, "object": "conversation", "deleted": True}


@router.post("/conversations/{conversation}/turns")
async def turn(parts: Parts, caller: Caller, conversation: str, body: TurnBody) -> StreamingResponse:
    def begin() -> Begun:
        return begin_turn(parts, caller, conversation, panes=body.panes, prompt=body.prompt, only=body.only)

    return TalkStream(parts, caller, await anyio.to_thread.run_sync(begin))


class TalkStream(StreamingResponse):
    """Asks once it is sent, and closes the talk however it ends."""

    def __init__(self, parts: Deps, caller: Caller, begun: Begun) -> None:
        self._parts, self._caller, self._begun = parts, caller, begun
        super().__init__(iter(()), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        talk = Talk(self._parts, self._caller, self._begun)
        self.body_iterator = _lines(talk, self._begun)
        try:
            await super().__call__(scope, receive, send)
        finally:
            await talk.aclose()


async def _lines(talk: Talk, begun: Begun) -> AsyncIterator[bytes]:
    """One `data:` line an event. A stream without the last line broke off."""
    yield _line({"type": "begun", "turn": begun.turn, "title": begun.title})
    while not talk.is_over:
        heard = await talk.next(KEEP_ALIVE_SECONDS)
        yield b": waiting\n\n" if heard is None else _line({"pane": heard[0]} | _event(heard[1]))
    yield b"data: [DONE]\n\n"


def _event(event: PaneEvent) -> dict[str, Any]:
    match event:
        case Put(has_worker=has_worker):
            return {"type": "put", "has_worker": has_worker}
        case Failed(error=error):
            return {"type": "failed"} | body_of(from_json(error))
        case _:
            return event.model_dump(mode="json")


def _line(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _choice(seen: ModelSeen) -> dict[str, Any]:
    words = model_words(seen.kind, seen.name, seen.base, seen.precision, seen.facts.get("parameters"))
    return {"model": seen.name, "id": seen.id, "kind": seen.kind, "base": seen.base} | words


def _object(seen: ConversationSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "conversation",
        "title": seen.title,
        "created_at": unix(seen.created_at),
        "changed_at": unix(seen.changed_at),
        "panes": [pane.model_dump(mode="json") for pane in seen.panes],
    }
