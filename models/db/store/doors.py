"""The part of SystemStore that knows how people come in. Used before any principal exists; every token comes hashed."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.db.tables import Membership, SignIn, User, db_now
from models.domain.access import Member, Role
from models.domain.ids import SignInId, TeamId, UserId, new_id

SEEN_RECORDED_EVERY = timedelta(minutes=1)
IDLE_SECONDS = 12 * 3600  # a browser that is silent this long is signed out
ABSOLUTE_SECONDS = 7 * 24 * 3600  # and every browser after this


class DoorsStore:
    """Sign-ins."""

    session: Session

    def add_sign_in(self, user_id: str, team_id: str, token_sha256: str, *, address: str, agent: str) -> SignIn:
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
