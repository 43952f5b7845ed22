"""/v1/chat/completions, whole or as server-sent events. A client that goes away stops the work."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from models.domain.chat import Delta, Done, TokenEvent
from models.domain.errors import AppError
from webapp.actions.chat import Asked, Following, ask, whole_answer
from webapp.deps import Deps
from webapp.routes.answers import body_of
from webapp.routes.asking import Caller, Parts, unix
from webapp.routes.v1.chat_request import ChatBody

router = APIRouter(prefix="/chat")

PATIENCE_SECONDS = 5.0  # what fails by then gets its own status; then the stream begins, so that proxies see life
KEEP_ALIVE_SECONDS = 10.0
KEEP_ALIVE = b": waiting\n\n"  # a comment: every client of server-sent events passes over it
FINISH = {"stop": "stop", "stopped": "stop", "length": "length"}
CLIENT_LEFT = 499


@router.post("/completions")
async def complete(parts: Parts, caller: Caller, body: ChatBody, request: Request) -> Response:
    sampling, messages = body.sampling(), body.turns()
    asked = await anyio.to_thread.run_sync(ask, parts, caller, body.model, messages, sampling)
    if not body.stream:
        return await _whole(parts, asked, request)
    following = Following(parts, asked)
    try:
        first = await first_token(following)
    except BaseException:
        await following.aclose()
        raise
    wants_usage = body.stream_options is not None and body.stream_options.include_usage
    return AnswerStream(following, chunks(following, first, asked, wants_usage))


class AnswerStream(StreamingResponse):
    """Closes what it follows however it ends, also when the client left before the first byte."""

    def __init__(self, following: Following, chunks: AsyncIterator[bytes]) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._following = following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._following.aclose()


async def _whole(parts: Deps, asked: Asked, request: Request) -> Response:
    answering = asyncio.create_task(whole_answer(parts, asked))
    leaving = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            return Response(status_code=CLIENT_LEFT)  # nobody reads this
        answer = answering.result()
    finally:
        leaving.cancel()
        answering.cancel()
        await asyncio.wait({answering, leaving})
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISH[answer.done.finish_reason]}
    body = _head(asked, "chat.completion") | {"choices": [choice], "usage": _usage(answer.done)}
    return JSONResponse(body | {"tuneroom": _figures(answer.done)})


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def first_token(following: Following) -> TokenEvent | None:
    """Waits shortly, so that what fails at once fails with a status and not in mid-stream."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + PATIENCE_SECONDS
    while (seconds_left := deadline - clock.time()) > 0:
        event = await following.next(seconds_left)
        if isinstance(event, Delta | Done):
            return event
    return None


async def chunks(
    following: Following, first: TokenEvent | None, asked: Asked, wants_usage: bool
) -> AsyncIterator[bytes]:
    """The answer as `data:` lines. A failure in mid-stream is a last line with the error object."""
    yield _delta(asked, {"role": "assistant", "content": ""})
    event = first
    while not isinstance(event, Done):
        if isinstance(event, Delta):
            yield _delta(asked, {"content": event.text})
        try:
            event = await following.next(KEEP_ALIVE_SECONDS)
        except AppError as error:
            yield _line(body_of(error))
            return
        if event is None:
            yield KEEP_ALIVE
    yield _delta(asked, {}, FINISH[event.finish_reason])
    if wants_usage:
        yield _line(_head(asked, "chat.completion.chunk") | {"choices": [], "usage": _usage(event)})
    yield b"data: [DONE]\n\n"


def _delta(asked: Asked, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _line(_head(asked, "chat.completion.chunk") | {"choices": [choice]})


def _line(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": asked.request_id, "object": kind, "created": unix(asked.asked_at), "model": asked.model}


def _usage(done: Done) -> dict[str, int]:
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
    }


def _figures(done: Done) -> dict[str, Any]:
    return {
        "finish_reason": done.finish_reason,
        "first_token_seconds": done.first_token_seconds,
        "tokens_per_second": done.tokens_per_second,
    }
