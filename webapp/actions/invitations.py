"""Invitations into a team: one-time links, made and revoked by owners, used by whoever holds them.

A person without an account chooses a password; one who has an account proves theirs, within the limits of signing in.
Of a token only its SHA-256 is stored. Unknown, expired, used and revoked are the same NotFound.
"""

import re
import secrets
from dataclasses import dataclass

import structlog

from models.db.store.doors import OpenInvitation
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_people import InvitationSeen
from models.db.tables import Team
from models.domain.access import Member, Principal, Role
from models.domain.errors import Conflict, Invalid, NotFound
from webapp.actions.devices import device_cookie
from webapp.actions.passwords import hash_password, new_email, new_password
from webapp.actions.prove_password import Knock, account_of, prove_password
from webapp.actions.sessions import TOKEN_BYTES, SignedIn, open_session
from webapp.actions.sign_in import digest_of
from webapp.deps import Deps

log = structlog.get_logger()

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True)
class NewInvitation:
    """`token` is shown once; nobody can read it again."""

    seen: InvitationSeen
    token: str


def invite(deps: Deps, principal: Principal, role: str, email: str = "") -> NewInvitation:
    """`email` empty: whoever holds the link chooses theirs. Raises Forbidden, Invalid, Conflict."""
    wanted, fixed = role_of(role), new_email(email) if email.strip() else None
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with deps.database.write() as session:
        seen = TeamStore(session, principal).add_invitation(digest_of(token), wanted, fixed)
    log.info("person invited", by=_user(principal), team=principal.team, invitation=seen.id, role=wanted.value)
    return NewInvitation(seen=seen, token=token)


def list_invitations(deps: Deps, principal: Principal) -> list[InvitationSeen]:
    """Those that can still be used, newest first. Raises Forbidden for who may not invite."""
    with deps.database.read() as session:
        return TeamStore(session, principal).invitations()


def revoke_invitation(deps: Deps, principal: Principal, invitation_id: str) -> None:
    """Dead on the next request."""
    with deps.database.write() as session:
        TeamStore(session, principal).revoke_invitation(invitation_id)
    log.info("invitation revoked", by=_user(principal), team=principal.team, invitation=invitation_id)


def open_invitation(deps: Deps, token: str) -> OpenInvitation:
    """Raises NotFound, the same for every reason."""
    if TOKEN.fullmatch(token) is None:
        raise no_invitation()
    with deps.database.read() as session:
        found = SystemStore(session).open_invitation(digest_of(token))
    if found is None:
        raise no_invitation()
    return found


def accept(deps: Deps, token: str, knock: Knock) -> SignedIn:
    """Join with the e-mail and password of `knock`; a fixed e-mail wins over a typed one.

    Raises NotFound, Invalid and Conflict with the field as `param`, and what `prove_password` raises.
    """
    invitation = open_invitation(deps, token)
    email = new_email(invitation.email or knock.email)
    with deps.database.read() as session:
        has_account = SystemStore(session).user_by_email(email) is not None
    if has_account:
        proven = prove_password(
            deps.database, deps.secret_key,
            Knock(email=email, password=knock.password, address=knock.address, device=knock.device),
        )  # fmt: skip
        _join(deps, invitation, proven.user_id)
        user_id, device = proven.user_id, proven.device
    else:
        hashed = hash_password(new_password(knock.password, email))
        user_id = _add(deps, invitation, email, hashed)
        device = device_cookie(deps.secret_key, account_of(email), hashed)
    token = open_session(deps.database, user_id, invitation.team_id, address=knock.address, agent=knock.agent)
    return SignedIn(token=token, device=device)


def accept_signed_in(deps: Deps, token: str, member: Member) -> None:
    """Join as the person who is signed in here; their browser goes on in the new team."""
    invitation = open_invitation(deps, token)
    with deps.database.read() as session:
        user = TeamStore(session, member).me()[0]
    assert user is not None  # a member is somebody
    if invitation.email is not None and invitation.email != user.email:
        raise Conflict(f"This invitation is for {invitation.email}. Sign out here first, or ask for another.")
    _join(deps, invitation, member.user)
    with deps.database.write() as session:
        TeamStore(session, member).switch_team(invitation.team_id)


def _join(deps: Deps, invitation: OpenInvitation, user_id: str) -> None:
    with deps.database.write() as session:
        store = SystemStore(session)
        store.one_at_a_time(f"join:{user_id}")
        if not store.use_invitation(invitation.id, user_id):
            raise no_invitation()
        if store.is_in_team(user_id, invitation.team_id):
            raise Conflict(f"You are in the team {invitation.team_name} already. Sign in to go there.", param="email")
        store.join_team(user_id, invitation.team_id, invitation.role)
    _log_joined(invitation, user_id)


def _add(deps: Deps, invitation: OpenInvitation, email: str, hashed: str) -> str:
    with deps.database.write() as session:
        store = SystemStore(session)
        store.one_at_a_time(f"user:{email}")
        team = session.get_one(Team, invitation.team_id)
        user = store.add_user(email, team, invitation.role, is_admin=False, password_hash=hashed)
        if not store.use_invitation(invitation.id, user.id):
            raise no_invitation()  # nothing of this transaction stays
    _log_joined(invitation, user.id)
    return user.id


def _log_joined(invitation: OpenInvitation, user_id: str) -> None:
    log.info(
        "person joined", user=user_id, team=invitation.team_id, role=invitation.role.value, invitation=invitation.id
    )


def role_of(word: str) -> Role:
    """Raises Invalid."""
    if word not in list(Role):
        raise Invalid(f"{word[:40]!r} is not a role; the roles are {', '.join(Role)}.", param="role")
    return Role(word)


def no_invitation() -> NotFound:
    """One sentence for unknown, expired, used and revoked, so that nobody learns which."""
    return NotFound("This invitation does not exist or is no longer valid. Ask the person who sent it for a new one.")


def _user(principal: Principal) -> str | None:
    return principal.user if isinstance(principal, Member) else None
