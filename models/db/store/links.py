"""The part of SystemStore that answers whoever holds a link. Tokens come hashed; counts rise before the answer."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session

from models.db.tables import Adapter, Link, LinkUse, Team, User, db_now


@dataclass(frozen=True, kw_only=True)
class LinkFound:
    """A link in force with its adapter and who made it."""

    link: Link
    adapter: Adapter
    team_name: str
    sharer: str | None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A counted question. `answer_tokens` are set aside for its answer until it is settled."""

    use_id: str
    link_id: str
    answer_tokens: int


def in_force() -> ColumnElement[bool]:
    """Neither revoked nor expired, by the database's clock. The adapter's own life is the caller's join."""
    return and_(Link.revoked_at.is_(None), Link.expires_at > db_now())


class LinksStore:
    """Links before any principal exists."""

    session: Session

    def link_of_token(self, token_sha256: str) -> LinkFound | None:
        """None for unknown, revoked, expired, and for a deleted adapter alike."""
        row = self.session.execute(
            select(Link, Adapter, Team.name, User.email)
            .join(Adapter, (Adapter.id == Link.adapter_id) & (Adapter.team_id == Link.team_id))
            .join(Team, Team.id == Link.team_id)
            .outerjoin(User, User.id == Link.created_by)
            .where(Link.token_sha256 == token_sha256, in_force(), Adapter.deleted_at.is_(None))
        ).one_or_none()
        return LinkFound(link=row[0], adapter=row[1], team_name=row[2], sharer=row[3]) if row else None

    def link_is_in_force(self, link_id: str) -> bool:
        query = (
            select(Link.id)
            .join(Adapter, Adapter.id == Link.adapter_id)
            .where(Link.id == link_id, in_force(), Adapter.deleted_at.is_(None))
        )
        return self.session.scalar(query) is not None

    def count_question(self, link_id: str, use_id: str, most_tokens: int) -> Question | None:
        """Count one question and set its answer's tokens aside; None once a cap is reached or the link is dead.

        The row is locked, so no number of questions at once gets past a cap: by the row's lock on PostgreSQL, by
        BEGIN IMMEDIATE on SQLite.
        """
        link = self.session.scalar(select(Link).where(Link.id == link_id, in_force()).with_for_update())
        if link is None or link.used_requests >= link.max_requests or link.used_tokens >= link.max_tokens:
            return None
        set_aside = min(most_tokens, link.max_tokens - link.used_tokens)
        link.used_requests += 1
        link.used_tokens += set_aside
        link.last_used_at = db_now()  # type: ignore[assignment]
        self.session.add(LinkUse(id=use_id, link_id=link_id))
        self.session.flush()
        return Question(use_id=use_id, link_id=link_id, answer_tokens=set_aside)

    def uncount_question(self, question: Question) -> None:
        """It was never put before a worker: nothing of it remains."""
        self.session.execute(delete(LinkUse).where(LinkUse.id == question.use_id))
        self.session.execute(
            update(Link)
            .where(Link.id == question.link_id)
            .values(used_requests=Link.used_requests - 1, used_tokens=Link.used_tokens - question.answer_tokens)
        )

    def settle_question(self, question: Question, outcome: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Put what was really used in the place of what was set aside. A second settling changes nothing."""
        settled = self.session.execute(
            update(LinkUse)
            .where(LinkUse.id == question.use_id, LinkUse.outcome == "asked")
            .values(outcome=outcome, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
        )
        if settled.rowcount == 1:  # type: ignore[attr-defined]
            more = prompt_tokens + completion_tokens - question.answer_tokens
            self.session.execute(
                update(Link).where(Link.id == question.link_id).values(used_tokens=Link.used_tokens + more)
            )

    def is_question_of(self, link_id: str, use_id: str) -> bool:
        """Whether this answer was asked for through this link, so that no link stops another's."""
        query = select(LinkUse.id).where(LinkUse.id == use_id, LinkUse.link_id == link_id)
        return self.session.scalar(query) is not None
