"""Opens, recognises and ends a person's browser session. The cookie is 256 random bits; only its hash is stored."""

import secrets
from dataclasses import dataclass
from datetime import datetime

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Member, Principal
from models.domain.errors import NotSignedIn, Unavailable
from models.domain.ids import SignInId
from webapp.actions.prove_password import Knock, prove_password
from webapp.actions.sign_in import digest_of
from webapp.deps import Deps

log = structlog.get_logger()

TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """What the browser keeps: the session's token, known only here, and the device cookie."""

    token: str
    device: str


@dataclass(frozen=True, kw_only=True)
class SignInSeen:
    """A browser of the person who looks."""

    id: str
    address: str
    agent: str
    team_id: str
    created_at: datetime
    seen_at: datetime
    is_this: bool


def sign_in(deps: Deps, knock: Knock, replaced: str | None = None) -> SignedIn:
    """By password. The session that `replaced` names, of the same browser, ends. Raises as `prove_password` does."""
    proven = prove_password(deps.database, deps.secret_key, knock)
    with deps.database.read() as session:
        team = SystemStore(session).team_to_enter(proven.user_id)
    if team is None:
        raise NotSignedIn("You are in no team here any more. Ask an owner of a team for an invitation.")
    if replaced is not None:
        end_session_of(deps.database, replaced)
    token = open_session(deps.database, proven.user_id, team, address=knock.address, agent=knock.agent)
    log.info("signed in", user=proven.user_id, team=team, address=knock.address)
    return SignedIn(token=token, device=proven.device)


def open_session(database: Database, user_id: str, team_id: str, *, address: str, agent: str) -> str:
    """Returns the token for the cookie; this is the only time it is known."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with database.write() as session:
        SystemStore(session).add_sign_in(user_id, team_id, digest_of(token), address=address, agent=agent)
    return token


def member_of_cookie(database: Database, token: str) -> Member:
    """Raises NotSignedIn for unknown, ended, expired and idle alike."""
    with database.read() as session:
        member = SystemStore(session).member_of_sign_in(digest_of(token))
    if member is None:
        raise NotSignedIn("You are not signed in, or no longer. Sign in and go on.")
    return member


def record_seen(database: Database, sign_in: SignInId) -> None:
    """Keeps the session from becoming idle; never a reason to refuse the request."""
    try:
        with database.write() as session:
            SystemStore(session).sign_in_was_seen(sign_in)
    except Unavailable as error:
        log.warning("use of a session was not recorded", sign_in=sign_in, reason=error.message)


def close_session(database: Database, sign_in: SignInId) -> None:
    with database.write() as session:
        SystemStore(session).end_sign_in(sign_in)


def end_session_of(database: Database, token: str) -> None:
    """Of whatever person the cookie is; nothing happens for one that is over."""
    try:
        member = member_of_cookie(database, token)
    except NotSignedIn:
        return
    if member.sign_in is not None:
        close_session(database, member.sign_in)


def my_sign_ins(deps: Deps, principal: Principal) -> list[SignInSeen]:
    """This browser first, then the last seen."""
    this = principal.sign_in if isinstance(principal, Member) else None
    with deps.database.read() as session:
        seen = [
            SignInSeen(
                id=row.id, address=row.address, agent=row.agent, team_id=row.team_id, created_at=row.created_at,
                seen_at=row.seen_at, is_this=row.id == this,
            )
            for row in TeamStore(session, principal).my_sign_ins()
        ]  # fmt: skip
    return sorted(seen, key=lambda one: not one.is_this)


def end_my_sign_in(deps: Deps, principal: Principal, sign_in_id: str) -> None:
    """That browser is signed out on its next request. Other people's are not found."""
    with deps.database.write() as session:
        TeamStore(session, principal).end_my_sign_in(sign_in_id)
    log.info("sign-in ended", by=principal.user if isinstance(principal, Member) else None, sign_in=sign_in_id)


def end_my_sign_ins(deps: Deps, principal: Principal) -> int:
    """Every browser of the person, this one too. Returns how many."""
    seen = my_sign_ins(deps, principal)
    for one in seen:
        end_my_sign_in(deps, principal, one.id)
    return len(seen)


def switch_team(deps: Deps, principal: Principal, team_id: str) -> None:
    """This browser goes on in another team of the person's. Raises NotFound for any other."""
    with deps.database.write() as session:
        TeamStore(session, principal).switch_team(team_id)
