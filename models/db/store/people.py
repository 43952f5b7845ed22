"""Who is who: teams, users, memberships, keys and sealed secrets, before any principal exists."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.db.tables import ApiKey, Membership, Secret, Team, User, db_now
from models.domain.access import Key, Role
from models.domain.errors import Conflict, NotFound
from models.domain.ids import KeyId, TeamId, UserId, new_id

KEY_USE_RECORDED_EVERY = timedelta(minutes=1)


class PeopleStore:
    """The part of SystemStore that knows people. Only sign-in and the command line on the machine use it."""

    session: Session

    def team_named(self, name: str) -> Team:
        team = self.session.scalar(select(Team).where(Team.name == name))
        if team is None:
            known = ", ".join(self.session.scalars(select(Team.name).order_by(Team.name)))
            raise NotFound(f'There is no team "{name}". Known teams: {known}.')
        return team

    def user_by_email(self, email: str) -> User | None:
        return self.session.scalar(select(User).where(User.email == email.strip().lower()))

    def email_of(self, user_id: str | None) -> str | None:
        """None for nobody, as the installation's own jobs are."""
        user = self.session.get(User, user_id) if user_id is not None else None
        return user.email if user else None

    def add_user(self, email: str, team: Team, role: Role, *, is_admin: bool, password_hash: str | None) -> User:
        """Create a person with one membership. Raises Conflict if the e-mail is known."""
        if self.user_by_email(email) is not None:
            raise Conflict(f'A user "{email}" exists already. Use another e-mail address.')
        user = User(id=new_id("user"), email=email.strip().lower(), is_admin=is_admin, password_hash=password_hash)
        self.session.add(user)
        self.session.flush()
        self.session.add(Membership(user_id=user.id, team_id=team.id, role=role))
        self.session.flush()
        return user

    def add_key(self, user: User, team_id: str, name: str, secret_sha256: str) -> ApiKey:
        key = ApiKey(id=new_id("key"), user_id=user.id, team_id=team_id, name=name, secret_sha256=secret_sha256)
        self.session.add(key)
        self.session.flush()
        return key

    def memberships(self, user_id: str) -> list[Membership]:
        return list(self.session.scalars(select(Membership).where(Membership.user_id == user_id)))

    def principal_of_key(self, secret_sha256: str) -> Key | None:
        """The principal behind a key, or None if unknown, revoked, or its person disabled or gone from the team."""
        row = self.session.execute(
            select(ApiKey, Membership.role)
            .join(User, User.id == ApiKey.user_id)
            .join(Membership, (Membership.user_id == ApiKey.user_id) & (Membership.team_id == ApiKey.team_id))
            .where(ApiKey.secret_sha256 == secret_sha256, ApiKey.revoked_at.is_(None), User.disabled_at.is_(None))
        ).one_or_none()
        if row is None:
            return None
        key, role = row
        return Key(key=KeyId(key.id), user=UserId(key.user_id), team=TeamId(key.team_id), role=Role(role))

    def key_was_used(self, key_id: str) -> None:
        """Remember the time of use, at most once a minute: a write per request would be a lock per request."""
        stale = datetime.now(UTC) - KEY_USE_RECORDED_EVERY
        self.session.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id, ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < stale))
            .values(last_used_at=db_now())
        )

    def save_secret(self, team_id: str, name: str, sealed: bytes, created_by: str | None) -> None:
        self.session.merge(Secret(team_id=team_id, name=name, sealed=sealed, created_by=created_by))

    def sealed_secret(self, team_id: str, name: str) -> bytes | None:
        secret = self.session.get(Secret, (team_id, name))
        return secret.sealed if secret else None
