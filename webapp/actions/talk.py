"""One prompt to all panes of a conversation at once: each answers, waits or fails by itself, and is saved as it ends.

The prompt is saved before anything is asked, so a restart loses at most the unfinished answers. Who leaves stops all
of them, and what had come by then is kept.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import structlog

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.chat import Delta, Done, Failed, TokenEvent
from models.domain.errors import AppError, Invalid, NotFound
from models.domain.ids import new_id
from webapp import words
from webapp.actions.chat import Asked, Following, ask
from webapp.actions.conversations import Pane, Said, said, stored, title_of
from webapp.deps import Deps

log = structlog.get_logger()

Messages = tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A turn whose prompt is saved: which panes answer, and what each is asked."""

    conversation: str
    title: str
    turn: int
    asked: tuple[tuple[Pane, Messages], ...]


@dataclass(frozen=True, kw_only=True)
class Put:
    """A pane's question lies before the chat workers; without one nothing may come."""

    has_worker: bool


PaneEvent = Put | TokenEvent


def begin_turn(
    deps: Deps,
    principal: Principal,
    conversation_id: str,
    *,
    panes: Sequence[Pane],
    prompt: str | None,
    only: Sequence[int] | None = None,
) -> Begun:
    """Save the panes as they are now and the prompt of the next turn; None answers the last prompt again.

    `only` are the numbers of the panes that answer (all, if None). An earlier answer stays until a new one ended.
    """
    if prompt is not None and not prompt.strip():
        raise Invalid("The prompt is empty. Type what the models should answer.", param="prompt")
    answering = [pane for pane in panes if only is None or pane.number in only]
    if not answering:
        raise Invalid("None of these panes is there. Reload the page.", param="only")
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        row = store.set_panes(conversation_id, stored(panes))
        turn = store.ask_in_panes(conversation_id, prompt, [pane.number for pane in answering])
        if not row.title and prompt is not None:
            row.title = title_of(prompt)
        session.flush()
        spoken = [said(message) for message in store.messages(conversation_id)]
        asked = tuple((pane, _thread(pane, turn, spoken)) for pane in answering)
        return Begun(conversation=conversation_id, title=row.title, turn=turn, asked=asked)


def _thread(pane: Pane, turn: int, spoken: Sequence[Said]) -> Messages:
    """What the model reads. A prompt that was never answered is left out: templates want answers in between."""
    mine = [message for message in spoken if message.pane == pane.number and message.turn <= turn]
    answered = {message.turn for message in mine if message.model is not None and message.turn < turn}
    thread = [{"role": "system", "content": pane.system}] if pane.system.strip() else []
    for message in mine:
        if message.turn in answered or (message.turn == turn and message.model is None):
            thread.append({"role": "assistant" if message.model else "user", "content": message.text})
    return tuple(thread)


@dataclass(kw_only=True)
class _Answer:
    """What has come of one pane's answer."""

    pane: Pane
    messages: Messages
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Talk:
    """The panes' answers, mixed in the order they come. Make it within the event loop; always close it."""

    def __init__(self, deps: Deps, principal: Principal, begun: Begun) -> None:
        self._deps, self._principal, self._begun = deps, principal, begun
        self._heard: asyncio.Queue[tuple[int, PaneEvent]] = asyncio.Queue()
        self._unended = {pane.number for pane, _ in begun.asked}
        self._tasks = [
            asyncio.create_task(self._answer(_Answer(pane=pane, messages=messages))) for pane, messages in begun.asked
        ]

    @property
    def is_over(self) -> bool:
        """Every pane has told its end."""
        return not self._unended

    async def next(self, seconds: float) -> tuple[int, PaneEvent] | None:
        """The number of a pane and what came from it; None when nothing came for `seconds`."""
        try:
            number, event = await asyncio.wait_for(self._heard.get(), seconds)
        except TimeoutError:
            return None
        if isinstance(event, Done | Failed):
            self._unended.discard(number)
        return number, event

    async def aclose(self) -> None:
        """Stop what still runs; returns when what had come is saved."""
        for task in self._tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, answer: _Answer) -> None:
        number = answer.pane.number
        try:
            asked = await anyio.to_thread.run_sync(
                ask, self._deps, self._principal, answer.pane.model, answer.messages, answer.pane.sampling
            )
            self._heard.put_nowait((number, Put(has_worker=asked.has_worker)))
            done = await self._follow(asked, answer)
            await self._save(answer, done.finish_reason, done)
            self._heard.put_nowait((number, done))
        except AppError as error:
            await self._save(answer, "failed")
            self._heard.put_nowait((number, Failed(error=error.to_json())))
        except asyncio.CancelledError:
            await self._save(answer, "stopped")
            raise
        except Exception as error:
            error_id = new_id("err")
            log.error("unexpected error in an answer", error_id=error_id, exc_info=error)
            self._heard.put_nowait((number, Failed(error=AppError(words.unexpected(error_id)).to_json())))

    async def _follow(self, asked: Asked, answer: _Answer) -> Done:
        async with aclosing(Following(self._deps, asked)) as following:
            while True:
                event = await following.next()
                match event:
                    case Done():
                        return event
                    case Delta(text=text):
                        answer.pieces.append(text)
                if event is not None:
                    self._heard.put_nowait((answer.pane.number, event))

    async def _save(self, answer: _Answer, finish_reason: str, done: Done | None = None) -> None:
        """Nothing is saved where nothing was said, unless the model itself ended so."""
        if done is None and not answer.pieces:
            return
        made = answer.pane.sampling.model_dump(mode="json") | {"finish_reason": finish_reason}
        if done is not None:
            made |= done.model_dump(mode="json", exclude={"type", "finish_reason"})
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._write, answer, made)

    def _write(self, answer: _Answer, made: dict[str, Any]) -> None:
        begun, pane = self._begun, answer.pane
        try:
            with self._deps.database.write() as session:
                TeamStore(session, self._principal).save_answer(
                    begun.conversation, pane=pane.number, turn=begun.turn, content=answer.text, model=pane.model,
                    made=made,
                )  # fmt: skip
        except NotFound:
            log.info("answer not saved: its conversation was deleted", conversation=begun.conversation)
