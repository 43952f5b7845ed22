"""Conversations of the Playground: what a person keeps of their talks with up to four models side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from models.db.store.scope import Page
from models.db.store.team import TeamStore
from models.db.store.team_chats import LONGEST_TITLE
from models.db.tables import Conversation, Message
from models.domain.access import Principal
from models.domain.chat import Sampling
from models.domain.errors import Invalid
from models.domain.training import Spec
from webapp.deps import Deps

MOST_PANES = 4


class Pane(Spec):
    """One of the models side by side, and how it is asked. Its number stays when others go."""

    number: int = Field(ge=0, le=9999)
    model: str = Field(max_length=255)
    system: str = Field(default="", max_length=20_000)
    sampling: Sampling = Sampling()


@dataclass(frozen=True, kw_only=True)
class ConversationSeen:
    id: str
    title: str
    created_at: datetime
    changed_at: datetime
    panes: tuple[Pane, ...]


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message: the prompt of a turn (without `model`) or a pane's answer to it. `made` says how, and how fast."""

    pane: int
    turn: int
    text: str
    model: str | None
    made: dict[str, Any] | None


def list_conversations(
    deps: Deps, principal: Principal, *, limit: int, after: str | None = None, words: str = ""
) -> Page[ConversationSeen]:
    """The person's own, last changed first."""
    with deps.database.read() as session:
        page = TeamStore(session, principal).conversations(limit=limit, after=after, words=words)
        return Page([see(row) for row in page.items], page.has_more)


def open_conversation(deps: Deps, principal: Principal, conversation_id: str) -> tuple[ConversationSeen, list[Said]]:
    """With all that was said, by turn. A prompt without an answer was cut off, or failed."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        row = store.conversation(conversation_id)
        return see(row), [said(message) for message in store.messages(conversation_id)]


def begin_conversation(deps: Deps, principal: Principal, panes: Sequence[Pane], title: str) -> ConversationSeen:
    with deps.database.write() as session:
        row = TeamStore(session, principal).add_conversation(title_of(title), stored(panes))
        session.refresh(row)
        return see(row)


def rename_conversation(deps: Deps, principal: Principal, conversation_id: str, title: str) -> ConversationSeen:
    if not title.strip():
        raise Invalid("The title is empty; a word or two were needed. Type them.", param="title")
    with deps.database.write() as session:
        return see(TeamStore(session, principal).rename_conversation(conversation_id, title_of(title)))


def change_panes(
    deps: Deps, principal: Principal, conversation_id: str, panes: Sequence[Pane], removed: Sequence[int] = ()
) -> ConversationSeen:
    """The threads of the panes `removed` go with them."""
    with deps.database.write() as session:
        return see(TeamStore(session, principal).set_panes(conversation_id, stored(panes), removed))


def delete_conversation(deps: Deps, principal: Principal, conversation_id: str) -> None:
    with deps.database.write() as session:
        TeamStore(session, principal).delete_conversation(conversation_id)


def stored(panes: Sequence[Pane]) -> list[dict[str, Any]]:
    """Raises Invalid for none, too many, or two of one number."""
    if not 1 <= len(panes) <= MOST_PANES:
        raise Invalid(f"{len(panes)} panes were sent; 1 to {MOST_PANES} can stand side by side.", param="panes")
    if len({pane.number for pane in panes}) < len(panes):
        raise Invalid("Two panes have the same number. Reload the page.", param="panes")
    return [pane.model_dump(mode="json") for pane in panes]


def title_of(text: str) -> str:
    """The first words, cut at one of them."""
    line = " ".join(text.split())
    if len(line) <= LONGEST_TITLE:
        return line
    return line[: LONGEST_TITLE - 1].rsplit(" ", 1)[0] + "…"


def see(row: Conversation) -> ConversationSeen:
    return ConversationSeen(
        id=row.id,
        title=row.title,
        created_at=row.created_at,
        changed_at=row.changed_at,
        panes=tuple(Pane.model_validate(pane) for pane in row.panes),
    )


def said(message: Message) -> Said:
    return Said(
        pane=message.pane,
        turn=message.number // 2,
        text=message.content,
        model=message.model,
        made=message.sampling,
    )
