"""What a link opens, for whoever holds it: a plain page and one chat. No account, no cookie, nothing else of the team.

Every address here carries the token; it is never written to a log (`webapp.routes.masking`).
"""

from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from models.domain.errors import Invalid, NotFound
from webapp.actions.ask_link import LinkFollowing, ask_through_link, stop_through_link
from webapp.actions.links import open_link
from webapp.routes.asking import Body, Parts
from webapp.routes.plain import plain
from webapp.routes.v1.chat import AnswerStream, chunks, first_token

MOST_MESSAGES = 40
LONGEST_MESSAGE = 8_000  # characters
LONGEST_CONVERSATION = 24_000

router = APIRouter(prefix="/s/{token}")


class Turn(Body):
    """No system turns: what the model is told to be is not the visitor's to say."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=LONGEST_MESSAGE)]


class LinkChatBody(Body):
    messages: Annotated[list[Turn], Field(min_length=1, max_length=MOST_MESSAGES)]

    def turns(self) -> tuple[dict[str, Any], ...]:
        length = sum(len(turn.content) for turn in self.messages)
        if length > LONGEST_CONVERSATION:
            raise Invalid(
                f"The conversation has {length:,} characters; a link takes {LONGEST_CONVERSATION:,}. Start a new one.",
                param="messages",
            )
        if self.messages[-1].role != "user":
            raise Invalid("The last message must be the user's question. Add one.", param="messages")
        return tuple(turn.model_dump() for turn in self.messages)


class StopBody(Body):
    id: Annotated[str, Field(min_length=1, max_length=40)]


@router.get("")
def page(parts: Parts, token: str) -> Response:
    try:
        link = open_link(parts, token)
    except NotFound as error:
        return plain("link_gone.html", 404, sentence=error.message)
    limits = {"messages": MOST_MESSAGES, "message": LONGEST_MESSAGE, "conversation": LONGEST_CONVERSATION}
    shown = plain("link.html", link=link, token=token, limits=limits)
    shown.headers["Referrer-Policy"] = "no-referrer"  # its address is the secret
    return shown


@router.post("/chat")
async def chat(parts: Parts, token: str, body: LinkChatBody) -> Response:
    """Server-sent events, as /v1/chat/completions streams them."""
    asked, question = await anyio.to_thread.run_sync(ask_through_link, parts, token, body.turns())
    following = LinkFollowing(parts, asked, question)
    try:
        first = await first_token(following)
    except BaseException:
        await following.aclose()
        raise
    return AnswerStream(following, chunks(following, first, asked, wants_usage=False))


@router.post("/stop")
def stop(parts: Parts, token: str, body: StopBody) -> Response:
    stop_through_link(parts, token, body.id)
    return JSONResponse({"id": body.id, "object": "answer.stopped"})
