"""The scoping that every part of TeamStore shares: find within the team or instance-wide, then ask `can`."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.domain.access import Key, Kind, Link, Member, Object, Principal, System, Verb, can
from models.domain.errors import Forbidden, NotFound
from models.domain.ids import TeamId, UserId

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a listing, and whether more follow."""

    items: list[T]
    has_more: bool


class Scoped:
    """A session and a principal; parts of TeamStore add the nouns."""

    session: Session
    principal: Principal

    @property
    def team(self) -> TeamId:
        return self.principal.team

    @property
    def user(self) -> UserId | None:
        match self.principal:
            case Member(user=user) | Key(user=user):
                return user
            case Link() | System():
                return None

    def within(self, column: InstrumentedAttribute[Any], *, shared: bool = False) -> ColumnElement[bool]:
        """The team's rows, and with `shared` the instance-wide ones."""
        own = column == self.team
        return or_(own, column.is_(None)) if shared else own

    def require(
        self, verb: Verb, kind: Kind, team: str | None, owner: str | None, what: str, row_id: str | None = None
    ) -> None:
        """Raise Forbidden unless the principal may."""
        thing = Object(
            kind=kind, team=TeamId(team) if team else None, owner=UserId(owner) if owner else None, id=row_id
        )
        if not can(self.principal, verb, thing):
            raise Forbidden(f"Your role does not allow you to {verb} {what}. Ask an owner of the team.")

    def page(self, query: Select[T], limit: int) -> Page[T]:
        rows = list(self.session.scalars(query.limit(limit + 1)))
        return Page(rows[:limit], len(rows) > limit)


def absent(what: str, row_id: str) -> NotFound:
    """The same answer for what never was and for what is another team's."""
    return NotFound(f"No {what} {row_id[:80]!r} was found in this team. Check the id, or list what there is.")
