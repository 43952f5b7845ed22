"""A question through a link: counted before it is asked, settled when its answer ends, dead with its link.

The same machinery as every chat (`webapp.actions.chat`), with one adapter, short answers, and an eye on the link.
"""

import time
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import structlog

from models.db.store.links import Question
from models.db.store.system import SystemStore
from models.domain.chat import Delta, Done, Failed, Sampling, TokenEvent
from models.domain.errors import AppError, Code, Forbidden, NotFound, Unavailable
from models.domain.ids import new_id
from webapp.actions.chat import Asked, Following, ask
from webapp.actions.links import OpenedLink, no_link, open_link
from webapp.deps import Deps

log = structlog.get_logger()

ANSWER_TOKENS = 512  # the longest answer through a link
LOOK_EVERY_SECONDS = 0.5  # a revoked link is dead within a second, also in the middle of an answer


def ask_through_link(deps: Deps, token: str, messages: tuple[dict[str, Any], ...]) -> tuple[Asked, Question]:
    """Raises NotFound for a link that is not in force, Forbidden (rate_limited) beyond its caps, or Unavailable."""
    link = open_link(deps, token)
    question = _count(deps, link)
    try:
        sampling = Sampling(max_tokens=question.answer_tokens)
        asked = ask(deps, link.principal, link.principal.adapter, messages, sampling, request_id=question.use_id)
    except AppError as error:
        _uncount(deps, question)
        if isinstance(error, NotFound | Forbidden):
            raise no_link() from None
        raise _crowded() if error.code is Code.RATE_LIMITED else error from None
    return replace(asked, model=link.title), question  # the public id names the team and the base


def stop_through_link(deps: Deps, token: str, request_id: str) -> None:
    """Raises NotFound for a link not in force and for an answer that was not asked for through it."""
    link = open_link(deps, token)
    with deps.database.read() as session:
        is_its_own = SystemStore(session).is_question_of(link.principal.link, request_id)
    if not is_its_own:
        raise NotFound("There is no such answer here to stop. It may have ended already.")
    deps.streams.ask_stop(request_id)


class LinkFollowing(Following):
    """Following, cut off within a second after its link died. However it ends, its tokens are counted."""

    def __init__(self, deps: Deps, asked: Asked, question: Question) -> None:
        super().__init__(deps, asked)
        self._question = question
        self._looked_at = time.monotonic()
        self._outcome, self._pieces = "stopped", 0
        self._done: Done | None = None

    async def next(self, seconds: float | None = None) -> TokenEvent | None:
        """As Following's. Raises NotFound once the link is not in force any more."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            await self._look()
            left = LOOK_EVERY_SECONDS if until is None else min(LOOK_EVERY_SECONDS, until - time.monotonic())
            if left <= 0:
                return None
            try:
                event = await super().next(left)
            except AppError:
                self._outcome = "failed"
                raise
            if event is not None:
                self._note(event)
                return event

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await super().aclose()
            prompt = self._done.prompt_tokens if self._done else 0
            completion = self._done.completion_tokens if self._done else self._pieces  # a piece is a token or more
            question, outcome = self._question, self._outcome
            await anyio.to_thread.run_sync(_settle, self._deps, question, outcome, prompt, completion)

    async def _look(self) -> None:
        if time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS:
            return
        self._looked_at = time.monotonic()
        if not await anyio.to_thread.run_sync(_is_in_force, self._deps, self._question.link_id):
            raise no_link()

    def _note(self, event: TokenEvent) -> None:
        match event:
            case Delta():
                self._pieces += 1
            case Done():
                self._done, self._outcome = event, "stopped" if event.finish_reason == "stopped" else "answered"
            case Failed():
                self._outcome = "failed"
            case _:
                pass


def _count(deps: Deps, link: OpenedLink) -> Question:
    with deps.database.write() as session:
        store = SystemStore(session)
        question = store.count_question(link.principal.link, new_id("chatcmpl"), ANSWER_TOKENS)
        if question is None and not store.link_is_in_force(link.principal.link):
            raise no_link()  # revoked since it was opened
    if question is None:
        raise Forbidden(
            f"This link has been used as often as it may be: its questions or tokens are spent. Ask "
            f"{link.shared_by} for a new one.",
            code=Code.RATE_LIMITED,
        )
    return question


def _crowded() -> Forbidden:
    return Forbidden(
        "Others are asking through this link right now, as many as may at a time. Try again in a moment.",
        code=Code.RATE_LIMITED,
    )


def _is_in_force(deps: Deps, link_id: str) -> bool:
    """A database that is away for a moment does not end an answer; the next look will tell."""
    try:
        with deps.database.read() as session:
            return SystemStore(session).link_is_in_force(link_id)
    except Unavailable:
        return True


def _uncount(deps: Deps, question: Question) -> None:
    try:
        with deps.database.write() as session:
            SystemStore(session).uncount_question(question)
    except Unavailable as error:
        log.warning("a question never asked stays counted", link=question.link_id, reason=error.message)


def _settle(deps: Deps, question: Question, outcome: str, prompt_tokens: int, completion_tokens: int) -> None:
    """Never a reason to fail an answer; unsettled, the tokens set aside stay counted."""
    try:
        with deps.database.write() as session:
            SystemStore(session).settle_question(question, outcome, prompt_tokens, completion_tokens)
    except Unavailable as error:
        log.warning("use of a link was not settled", link=question.link_id, reason=error.message)
