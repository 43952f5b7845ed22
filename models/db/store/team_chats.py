"""TeamStore's saved conversations: private to the person who holds them, an owner of the team included.

Turn n of every pane is the same prompt (message 2n) and that pane's answer (message 2n + 1, absent until it ended).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, update

from models.db.store.scope import Page, Scoped, absent
from models.db.tables import Conversation, Message, db_now
from models.domain.access import Kind, Object, Verb, can
from models.domain.ids import TeamId, UserId, new_id

LONGEST_TITLE = 80


class TeamChats(Scoped):
    """To everybody but its person a conversation does not exist."""

    def conversation(self, conversation_id: str, verb: Verb = Verb.READ) -> Conversation:
        """Anything but reading also locks the row, so that two pages cannot number the same turn."""
        query = select(Conversation).where(
            Conversation.id == conversation_id, Conversation.deleted_at.is_(None), self.within(Conversation.team_id)
        )
        row = self.session.scalar(query if verb is Verb.READ else query.with_for_update())
        if row is None or not can(self.principal, verb, _private(row.team_id, row.user_id)):
            raise absent("conversation", conversation_id)
        return row

    def conversations(self, *, limit: int, after: str | None = None, words: str = "") -> Page[Conversation]:
        """The person's own, last changed first; `words` must all be in the title."""
        query = select(Conversation).where(
            Conversation.user_id == self.user, Conversation.deleted_at.is_(None), self.within(Conversation.team_id)
        )
        query = query.where(*(Conversation.title.icontains(word, autoescape=True) for word in words.split()))
        if after is not None:
            last = self.conversation(after)
            same_time = and_(Conversation.changed_at == last.changed_at, Conversation.id < last.id)
            query = query.where(or_(Conversation.changed_at < last.changed_at, same_time))
        return self.page(query.order_by(Conversation.changed_at.desc(), Conversation.id.desc()), limit)

    def add_conversation(self, title: str, panes: Sequence[dict[str, Any]]) -> Conversation:
        self.require(Verb.CREATE, Kind.CONVERSATION, self.team, self.user, "a conversation")
        row = Conversation(
            id=new_id("chat"), team_id=self.team, user_id=self.user, title=title[:LONGEST_TITLE], panes=list(panes)
        )
        self.session.add(row)
        self.session.flush()
        return row

    def rename_conversation(self, conversation_id: str, title: str) -> Conversation:
        row = self.conversation(conversation_id, Verb.CHANGE)
        row.title = title[:LONGEST_TITLE]
        return row

    def set_panes(
        self, conversation_id: str, panes: Sequence[dict[str, Any]], removed: Sequence[int] = ()
    ) -> Conversation:
        """Each with its `number`. Only the threads of the panes `removed` go: a page may know fewer than there are."""
        row = self.conversation(conversation_id, Verb.CHANGE)
        row.panes = list(panes)
        kept = [pane["number"] for pane in panes]
        self.session.execute(
            delete(Message).where(
                Message.conversation_id == row.id, Message.pane.in_(removed), Message.pane.not_in(kept)
            )
        )
        return row

    def delete_conversation(self, conversation_id: str) -> None:
        """What was said goes at once; only the empty row stays."""
        row = self.conversation(conversation_id, Verb.DELETE)
        self.session.execute(delete(Message).where(Message.conversation_id == row.id))
        empty = {"title": "", "panes": [], "deleted_at": db_now()}
        self.session.execute(update(Conversation).where(Conversation.id == row.id).values(**empty))

    def messages(self, conversation_id: str) -> list[Message]:
        """By turn, then by pane."""
        row = self.conversation(conversation_id)
        query = select(Message).where(Message.conversation_id == row.id).order_by(Message.number, Message.pane)
        return list(self.session.scalars(query))

    def ask_in_panes(self, conversation_id: str, prompt: str | None, panes: Sequence[int]) -> int:
        """Write the prompt into each pane's thread; returns the turn. None asks the last prompt again.

        Raises NotFound where there is none to ask again.
        """
        row = self.conversation(conversation_id, Verb.CHANGE)
        last = self.session.scalar(select(func.max(Message.number)).where(Message.conversation_id == row.id))
        turn = 0 if last is None else last // 2 + (prompt is not None)
        if prompt is None:
            prompt = self.session.scalar(
                select(Message.content).where(Message.conversation_id == row.id, Message.number == 2 * turn).limit(1)
            )
        if prompt is None:
            raise absent("prompt to answer again in", conversation_id)
        for pane in panes:
            self.session.merge(
                Message(conversation_id=row.id, pane=pane, number=2 * turn, role="user", content=prompt)
            )  # fmt: skip
        row.changed_at = db_now()  # type: ignore[assignment]
        return turn

    def save_answer(
        self, conversation_id: str, *, pane: int, turn: int, content: str, model: str, made: dict[str, Any]
    ) -> None:
        """The pane's answer to this turn, in place of an earlier one. `made` is how: sampling, end, figures."""
        row = self.conversation(conversation_id, Verb.CHANGE)
        self.session.merge(
            Message(
                conversation_id=row.id, pane=pane, number=2 * turn + 1, role="assistant", content=content,
                model=model, sampling=made,
            )
        )  # fmt: skip
        row.changed_at = db_now()  # type: ignore[assignment]


def _private(team: str, user: str) -> Object:
    return Object(kind=Kind.CONVERSATION, team=TeamId(team), owner=UserId(user))
