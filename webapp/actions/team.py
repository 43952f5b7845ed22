"""The team as its page shows it, and what owners do to the people in it. Every change leaves a line in the log."""

import unicodedata
from dataclasses import dataclass

import structlog

from models.db.store.team import TeamStore
from models.db.store.team_people import InvitationSeen, KeySeen, PersonSeen, Usage
from models.domain.access import Member, Principal
from models.domain.errors import Invalid
from webapp.actions.invitations import role_of
from webapp.deps import Deps

log = structlog.get_logger()

LONGEST_NAME = 64


@dataclass(frozen=True, kw_only=True)
class TeamSeen:
    """`invitations` and `keys` are None for who may not see them."""

    id: str
    name: str
    me: str | None
    is_admin: bool
    may_manage: bool
    people: tuple[PersonSeen, ...]
    invitations: tuple[InvitationSeen, ...] | None
    keys: tuple[KeySeen, ...] | None
    usage: Usage


def show_team(deps: Deps, principal: Principal) -> TeamSeen:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        team = store.me()[1]
        may_manage = store.may_manage_people()
        return TeamSeen(
            id=team.id,
            name=team.name,
            me=store.user,
            is_admin=isinstance(principal, Member) and principal.is_admin,
            may_manage=may_manage,
            people=tuple(store.people()),
            invitations=tuple(store.invitations()) if may_manage else None,
            keys=tuple(store.team_keys()) if may_manage else None,
            usage=store.usage(),
        )


def list_people(deps: Deps, principal: Principal) -> list[PersonSeen]:
    with deps.database.read() as session:
        return TeamStore(session, principal).people()


def set_role(deps: Deps, principal: Principal, user_id: str, role: str) -> None:
    """Counts from the person's next request. Raises Conflict for the last owner."""
    wanted = role_of(role)
    with deps.database.write() as session:
        before = TeamStore(session, principal).set_role(user_id, wanted)
    log.info("role changed", **_who(principal), person=user_id, before=before.value, after=wanted.value)


def remove_person(deps: Deps, principal: Principal, user_id: str) -> None:
    """Their keys and browsers in this team are dead at once; what they made stays. Raises Conflict."""
    with deps.database.write() as session:
        TeamStore(session, principal).remove_person(user_id)
    log.info("person removed", **_who(principal), person=user_id)


def add_team(deps: Deps, principal: Principal, name: str) -> str:
    """A new team, its maker its owner; returns its id. For administrators. Raises Forbidden, Invalid, Conflict."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"A team's name has 1 to {LONGEST_NAME} characters; this one has {len(name)}. Choose another.",
            param="name",
        )
    with deps.database.write() as session:
        team_id = TeamStore(session, principal).add_team(name).id
    log.info("team created", **_who(principal), created=team_id)
    return team_id


def _who(principal: Principal) -> dict[str, str | None]:
    return {"by": principal.user if isinstance(principal, Member) else None, "team": principal.team}
