"""The part of SystemStore that knows how people come in. Used before any principal exists; every token comes hashed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from models.db.store.tries import TriesStore
from models.db.tables import Invitation, Membership, SetupToken, SignIn, Team, User, db_now
from models.domain.access import Member, Role
from models.domain.ids import SignInId, TeamId, UserId, new_id

SEEN_RECORDED_EVERY = timedelta(minutes=1)
IDLE_SECONDS = 12 * 3600  # a browser that is silent this long is signed out
ABSOLUTE_SECONDS = 7 * 24 * 3600  # and every browser after this
KEPT_SECONDS = 30 * 24 * 3600  # how long a sign-in that is over stays in the table
SETUP_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class OpenInvitation:
    """An invitation that can be used now, and what its page says."""

    id: str
    team_id: TeamId
    team_name: str
    role: Role
    email: str | None
    invited_by: str | None
    expires_at: datetime


class DoorsStore(TriesStore):
    """Sign-ins, the setup link, invitations and passwords."""

    session: Session

    def add_sign_in(self, user_id: str, team_id: str, token_sha256: str, *, address: str, agent: str) -> SignIn:
        over_since = db_now(-KEPT_SECONDS)
        self.session.execute(
            delete(SignIn).where(
                SignIn.user_id == user_id, (SignIn.expires_at < over_since) | (SignIn.revoked_at < over_since)
            )
        )
        row = SignIn(
            id=new_id("signin"), token_sha256=token_sha256, user_id=user_id, team_id=team_id, address=address[:64],
            agent=agent[:200], expires_at=db_now(ABSOLUTE_SECONDS),
        )  # fmt: skip
        self.session.add(row)
        self.session.flush()
        return row

    def member_of_sign_in(self, token_sha256: str) -> Member | None:
        """The person behind a browser's cookie; None if unknown, over, idle too long, or gone from the team."""
        row = self.session.execute(
            select(SignIn, Membership.role, User.is_admin)
            .join(User, User.id == SignIn.user_id)
            .join(Membership, (Membership.user_id == SignIn.user_id) & (Membership.team_id == SignIn.team_id))
            .where(
                SignIn.token_sha256 == token_sha256,
                SignIn.revoked_at.is_(None),
                SignIn.expires_at > db_now(),
                SignIn.seen_at > db_now(-IDLE_SECONDS),
                User.disabled_at.is_(None),
            )
        ).one_or_none()
        if row is None:
            return None
        sign_in, role, is_admin = row
        return Member(
            user=UserId(sign_in.user_id),
            team=TeamId(sign_in.team_id),
            role=Role(role),
            is_admin=is_admin,
            sign_in=SignInId(sign_in.id),
        )

    def sign_in_was_seen(self, sign_in_id: str) -> None:
        """At most once a minute: a write per request would be a lock per request."""
        stale = datetime.now(UTC) - SEEN_RECORDED_EVERY
        self.session.execute(
            update(SignIn).where(SignIn.id == sign_in_id, SignIn.seen_at < stale).values(seen_at=db_now())
        )

    def end_sign_in(self, sign_in_id: str) -> None:
        self.session.execute(
            update(SignIn).where(SignIn.id == sign_in_id, SignIn.revoked_at.is_(None)).values(revoked_at=db_now())
        )

    def end_sign_ins_of(self, user_id: str, *, but: str | None = None) -> None:
        """Every browser of the person, except the one named."""
        query = update(SignIn).where(SignIn.user_id == user_id, SignIn.revoked_at.is_(None))
        self.session.execute((query if but is None else query.where(SignIn.id != but)).values(revoked_at=db_now()))

    def team_to_enter(self, user_id: str) -> str | None:
        """Where the person worked last, else their oldest team; None for somebody who is in none."""
        last = (
            select(SignIn.team_id)
            .join(Membership, (Membership.user_id == SignIn.user_id) & (Membership.team_id == SignIn.team_id))
            .where(SignIn.user_id == user_id)
            .order_by(SignIn.id.desc())
            .limit(1)
        )
        oldest = select(Membership.team_id).where(Membership.user_id == user_id).order_by(Membership.created_at)
        return self.session.scalar(last) or self.session.scalar(oldest.limit(1))

    def set_password(self, user_id: str, password_hash: str) -> None:
        self.session.get_one(User, user_id).password_hash = password_hash
        self.session.flush()

    def has_administrator(self) -> bool:
        return self.session.scalar(select(User.id).where(User.is_admin).limit(1)) is not None

    def replace_setup_token(self, token_sha256: str) -> bool:
        """The one token that may make the first administrator; False, and none at all, once there is one."""
        self.one_at_a_time("setup")
        self.session.execute(delete(SetupToken))
        if self.has_administrator():
            return False
        row = SetupToken(id=new_id("setup"), token_sha256=token_sha256, expires_at=db_now(SETUP_SECONDS))
        self.session.add(row)
        self.session.flush()
        return True

    def is_setup_token(self, token_sha256: str) -> bool:
        """Can it be used now?"""
        found = select(SetupToken.id).where(
            SetupToken.token_sha256 == token_sha256, SetupToken.used_at.is_(None), SetupToken.expires_at > db_now()
        )
        return self.session.scalar(found) is not None and not self.has_administrator()

    def use_setup_token(self, token_sha256: str) -> bool:
        """True for exactly one caller, while no administrator exists."""
        self.one_at_a_time("setup")
        if not self.is_setup_token(token_sha256):
            return False
        self.session.execute(update(SetupToken).where(SetupToken.token_sha256 == token_sha256).values(used_at=db_now()))
        return True

    def open_invitation(self, token_sha256: str) -> OpenInvitation | None:
        """None for unknown, used, revoked and expired alike."""
        row = self.session.execute(
            select(Invitation, Team.name, User.email)
            .join(Team, Team.id == Invitation.team_id)
            .outerjoin(User, User.id == Invitation.created_by)
            .where(Invitation.token_sha256 == token_sha256, is_open_invitation())
        ).one_or_none()
        if row is None:
            return None
        invitation, team_name, inviter = row
        return OpenInvitation(
            id=invitation.id, team_id=TeamId(invitation.team_id), team_name=team_name, role=Role(invitation.role),
            email=invitation.email, invited_by=inviter, expires_at=invitation.expires_at,
        )  # fmt: skip

    def use_invitation(self, invitation_id: str, user_id: str) -> bool:
        """True for exactly one caller: the row is taken by compare-and-set."""
        taken = self.session.execute(
            update(Invitation)
            .where(Invitation.id == invitation_id, is_open_invitation())
            .values(used_at=db_now(), used_by=user_id)
        )
        return taken.rowcount == 1  # type: ignore[attr-defined]

    def is_in_team(self, user_id: str, team_id: str) -> bool:
        return self.session.get(Membership, (user_id, team_id)) is not None

    def join_team(self, user_id: str, team_id: str, role: Role) -> None:
        self.session.add(Membership(user_id=user_id, team_id=team_id, role=role))
        self.session.flush()


def is_open_invitation() -> ColumnElement[bool]:
    """What every query for a usable invitation shares."""
    return Invitation.used_at.is_(None) & Invitation.revoked_at.is_(None) & (Invitation.expires_at > db_now())
