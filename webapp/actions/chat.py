"""Asks the chat worker for one answer and follows it. Knows the stream, not the model; who leaves stops the work."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread
import structlog

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Key, Link, Member, Principal, System
from models.domain.chat import ChatRequest, Delta, Done, Failed, Sampling, TokenEvent
from models.domain.errors import AppError, Code, Unavailable, from_json
from models.domain.ids import new_id
from models.domain.job import Lane
from webapp.deps import Deps

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that was put before the chat workers. `model` is the public name of what answers."""

    request_id: str
    model: str
    asked_at: datetime
    has_worker: bool
    person: str | None  # whose running answers this is one of


def ask(
    deps: Deps,
    principal: Principal,
    model: str,
    messages: tuple[dict[str, Any], ...],
    sampling: Sampling,
    *,
    request_id: str | None = None,
) -> Asked:
    """Raises NotFound (model), Forbidden, Unavailable where the broker does not answer, or AppError(rate_limited)."""
    with deps.database.read() as session:
        served = TeamStore(session, principal).served(model).served
        workers = SystemStore(session).workers(deps.settings.lease_seconds)
    now = datetime.now(UTC)
    request = ChatRequest(
        request_id=request_id or new_id("chatcmpl"),
        model=served,
        messages=messages,
        sampling=sampling,
        deadline_at=now + timedelta(seconds=deps.settings.answer_seconds),
    )
    deps.streams.announce_reader(request.request_id)  # before the request: a quick worker drops what nobody reads
    person = _whose(principal)
    if person is not None and not deps.streams.take_place(person, request.request_id, deps.settings.answers_per_person):
        raise _too_many(deps.settings.answers_per_person)
    deps.broker.ask(request.model_dump_json())
    has_worker = any(worker.lane == Lane.CHAT for worker in workers)
    return Asked(
        request_id=request.request_id, model=served.public_id, asked_at=now, has_worker=has_worker, person=person
    )


class Following:
    """One answer, followed by its own task. Closing it early, for whatever reason, asks the worker to stop."""

    def __init__(self, deps: Deps, asked: Asked) -> None:
        """Call it within the event loop that serves the request."""
        self._deps = deps
        self._asked = asked
        self._heard: asyncio.Queue[TokenEvent | None] = asyncio.Queue()
        self._has_ended = False
        self._pump = asyncio.create_task(self._listen())

    async def next(self, seconds: float | None = None) -> TokenEvent | None:
        """The next event, or None when nothing came for `seconds`. Do not call it after Done.

        Raises what a Failed event says, and Unavailable after `answer_seconds` of silence.
        """
        try:
            event = await asyncio.wait_for(self._heard.get(), seconds)
        except TimeoutError:
            return None
        if event is None:
            await self._pump  # raises why it ended
            raise Unavailable("The answer broke off without an end. Ask again.")
        return event

    async def aclose(self) -> None:
        self._pump.cancel()
        await asyncio.wait({self._pump})
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_end, self._deps, self._asked, self._has_ended)

    async def _listen(self) -> None:
        settings, request_id = self._deps.settings, self._asked.request_id
        seconds = settings.answer_seconds if self._asked.has_worker else settings.lease_seconds  # time for one to start
        has_heard = False
        try:
            async for _, event in self._deps.streams.follow_async(request_id, silence_seconds=seconds):
                has_heard, self._has_ended = True, isinstance(event, Done | Failed)
                if isinstance(event, Failed):
                    raise from_json(event.error)
                self._heard.put_nowait(event)
        except Unavailable as error:
            if error.code is Code.TIMED_OUT and not self._asked.has_worker and not has_heard:
                raise Unavailable(
                    "No chat worker is running, so nothing answers. Start one: `tuneroom worker chat`."
                ) from None
            raise
        finally:
            self._heard.put_nowait(None)


def _end(deps: Deps, asked: Asked, has_ended: bool) -> None:
    try:
        if not has_ended:
            deps.streams.ask_stop(asked.request_id)
        if asked.person is not None:
            deps.streams.give_place(asked.person, asked.request_id)
    except Unavailable as error:
        log.warning("end not told; the missing reader will be noticed", request=asked.request_id, reason=error.message)


def _whose(principal: Principal) -> str | None:
    """Whose running answers are counted together: a person's, and those of all who hold one link."""
    match principal:
        case Member(user=user) | Key(user=user):
            return user
        case Link(link=link):
            return link
        case System():
            return None


def _too_many(most: int) -> AppError:
    return AppError(
        f"You have {most} answers running, the most one person may have at a time. "
        "Wait for one to end, or stop one, and ask again.",
        code=Code.RATE_LIMITED,
    )


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    done: Done


async def whole_answer(deps: Deps, asked: Asked) -> Answer:
    """Wait for the end. Cancelling the call stops the work."""
    pieces: list[str] = []
    async with aclosing(Following(deps, asked)) as following:
        while True:
            match await following.next():
                case Delta(text=text):
                    pieces.append(text)
                case Done() as done:
                    return Answer(text="".join(pieces), done=done)
                case _:
                    pass  # waiting and loading are for those who watch
