"""TeamStore's people: who is in the team, invitations, API keys, a person's own sign-ins, and what the team uses.

A team always keeps an owner. Who leaves or loses the owner's role takes along what would let them back in: their keys,
the invitations they made, their browsers.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.db.store.doors import IDLE_SECONDS, is_open_invitation
from models.db.store.scope import Scoped, absent
from models.db.tables import (
    Adapter,
    ApiKey,
    DatasetVersion,
    Invitation,
    Job,
    Membership,
    Merge,
    SignIn,
    Team,
    User,
    db_now,
)  # fmt: skip
from models.domain.access import Kind, Member, Object, Role, Verb, can
from models.domain.errors import Conflict, NotFound
from models.domain.ids import new_id

INVITATION_SECONDS = 7 * 24 * 3600
MOST_KEYS = 50  # of one person in one team


@dataclass(frozen=True, kw_only=True)
class PersonSeen:
    """Somebody in the team. `seen_at` is the last sign of life of a browser of theirs in this team."""

    user_id: str
    email: str
    role: Role
    is_admin: bool
    joined_at: datetime
    seen_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class InvitationSeen:
    id: str
    email: str | None
    role: Role
    invited_by: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class KeySeen:
    id: str
    name: str
    user_id: str
    email: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a team keeps. Bytes are of what is listed; equal files are stored once, so disks may hold less."""

    adapters: int
    merges: int
    runs: int
    dataset_bytes: int
    model_bytes: int


class TeamPeople(Scoped):
    """People, and what belongs to a person."""

    session: Session

    def may_manage_people(self) -> bool:
        return can(self.principal, Verb.CHANGE, Object(kind=Kind.PERSON, team=self.team))

    def people(self) -> list[PersonSeen]:
        """By e-mail."""
        self.require(Verb.READ, Kind.PERSON, self.team, None, "the people of this team")
        seen_at = (
            select(func.max(SignIn.seen_at))
            .where(SignIn.user_id == User.id, SignIn.team_id == Membership.team_id)
            .scalar_subquery()
        )
        rows = self.session.execute(
            select(User, Membership, seen_at)
            .join(Membership, Membership.user_id == User.id)
            .where(self.within(Membership.team_id))
            .order_by(User.email)
        )
        return [
            PersonSeen(
                user_id=user.id, email=user.email, role=Role(membership.role), is_admin=user.is_admin,
                joined_at=membership.created_at, seen_at=at,
            )
            for user, membership, at in rows
        ]  # fmt: skip

    def set_role(self, user_id: str, role: Role) -> Role:
        """Returns the role before. Raises Conflict rather than leave the team without an owner."""
        membership = self._membership(user_id, Verb.CHANGE)
        before = Role(membership.role)
        if before is Role.OWNER and role is not Role.OWNER:
            self._require_another_owner(user_id, "Make somebody else an owner first.")
            self._revoke_invitations_by(user_id)
        membership.role = role
        self.session.flush()
        return before

    def remove_person(self, user_id: str) -> None:
        """Out of this team at once, in browsers and programs. Raises Conflict for the last owner."""
        membership = self._membership(user_id, Verb.DELETE)
        if membership.role == Role.OWNER:
            self._require_another_owner(user_id, "Make somebody else an owner first.")
        self._require_a_way_in(user_id)
        self._revoke_invitations_by(user_id)
        self.session.execute(
            update(ApiKey)
            .where(ApiKey.user_id == user_id, self.within(ApiKey.team_id), ApiKey.revoked_at.is_(None))
            .values(revoked_at=db_now())
        )
        self.session.execute(
            update(SignIn)
            .where(SignIn.user_id == user_id, self.within(SignIn.team_id), SignIn.revoked_at.is_(None))
            .values(revoked_at=db_now())
        )
        self.session.delete(membership)
        self.session.flush()

    def _membership(self, user_id: str, verb: Verb) -> Membership:
        # Two owners who demote each other at the same moment wait here, so that one of them stays.
        self.session.scalar(select(Team.id).where(Team.id == self.team).with_for_update())
        row = self.session.get(Membership, (user_id, self.team), populate_existing=True)
        if row is None:
            raise absent("person", user_id)
        self.require(verb, Kind.PERSON, row.team_id, row.user_id, "the people of this team")
        return row

    def _require_another_owner(self, user_id: str, remedy: str) -> None:
        others = select(func.count()).where(
            self.within(Membership.team_id), Membership.role == Role.OWNER, Membership.user_id != user_id
        )
        if not self.session.scalar(others):
            email = self.session.get_one(User, user_id).email
            raise Conflict(f"{email} is the only owner, and a team needs one. {remedy}")

    def _require_a_way_in(self, user_id: str) -> None:
        """An administrator who is in no team could not sign in any more."""
        user = self.session.get_one(User, user_id)
        elsewhere = select(func.count()).where(Membership.user_id == user_id, Membership.team_id != self.team)
        if user.is_admin and not self.session.scalar(elsewhere):
            raise Conflict(
                f"{user.email} administers this installation and is in no other team, so they could not sign in any "
                "more. Add them to another team first."
            )

    def _revoke_invitations_by(self, user_id: str) -> None:
        self.session.execute(
            update(Invitation)
            .where(Invitation.created_by == user_id, self.within(Invitation.team_id), is_open_invitation())
            .values(revoked_at=db_now())
        )

    def add_invitation(self, token_sha256: str, role: Role, email: str | None) -> InvitationSeen:
        """Raises Conflict for an e-mail that is in the team already."""
        self.require(Verb.CREATE, Kind.PERSON, self.team, None, "invitations")
        if email is not None and any(person.email == email for person in self.people()):
            raise Conflict(f"{email} is in this team already. Change their role in the list of people.", param="email")
        row = Invitation(
            id=new_id("invitation"), token_sha256=token_sha256, team_id=self.team, role=role, email=email,
            created_by=self.user, expires_at=db_now(INVITATION_SECONDS),
        )  # fmt: skip
        self.session.add(row)
        self.session.flush()
        self.session.refresh(row)
        return _invitation(row, None)

    def invitations(self) -> list[InvitationSeen]:
        """Those that can still be used, newest first. Only for who may invite: they name people outside."""
        self.require(Verb.CHANGE, Kind.PERSON, self.team, None, "invitations")
        rows = self.session.execute(
            select(Invitation, User.email)
            .outerjoin(User, User.id == Invitation.created_by)
            .where(self.within(Invitation.team_id), is_open_invitation())
            .order_by(Invitation.id.desc())
        )
        return [_invitation(row, email) for row, email in rows]

    def revoke_invitation(self, invitation_id: str) -> None:
        row = self.session.scalar(
            select(Invitation).where(Invitation.id == invitation_id, self.within(Invitation.team_id))
        )
        if row is None:
            raise absent("invitation", invitation_id)
        self.require(Verb.DELETE, Kind.PERSON, row.team_id, None, "invitations")
        self.session.execute(
            update(Invitation).where(Invitation.id == invitation_id, is_open_invitation()).values(revoked_at=db_now())
        )

    def my_keys(self) -> list[KeySeen]:
        """The person's own in this team, newest first."""
        return self._keys(self.user)

    def team_keys(self) -> list[KeySeen]:
        """Everybody's, newest first; an owner sees them, never the keys themselves."""
        self.require(Verb.READ, Kind.KEY, self.team, None, "the keys of this team")
        return self._keys(None)

    def _keys(self, user_id: str | None) -> list[KeySeen]:
        query = (
            select(ApiKey, User.email)
            .join(User, User.id == ApiKey.user_id)
            .where(self.within(ApiKey.team_id), ApiKey.revoked_at.is_(None))
            .order_by(ApiKey.id.desc())
        )
        if user_id is not None:
            query = query.where(ApiKey.user_id == user_id)
        return [_key(row, email) for row, email in self.session.execute(query)]

    def add_my_key(self, name: str, secret_sha256: str) -> KeySeen:
        self.require(Verb.CREATE, Kind.KEY, self.team, self.user, "keys")
        mine = self.my_keys()
        if len(mine) >= MOST_KEYS:
            raise Conflict(f"You have {len(mine)} keys in this team, the most there can be. Revoke one first.")
        assert self.user is not None  # `can` has refused everybody else
        row = ApiKey(id=new_id("key"), user_id=self.user, team_id=self.team, name=name, secret_sha256=secret_sha256)
        self.session.add(row)
        self.session.flush()
        self.session.refresh(row)
        return _key(row, self.session.get_one(User, self.user).email)

    def revoke_key(self, key_id: str) -> ApiKey:
        """One's own, or as an owner anybody's in the team."""
        row = self.session.scalar(select(ApiKey).where(ApiKey.id == key_id, self.within(ApiKey.team_id)))
        if row is None:
            raise absent("key", key_id)
        self.require(Verb.DELETE, Kind.KEY, row.team_id, row.user_id, "this key")
        self.session.execute(
            update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=db_now())
        )
        return row

    def my_sign_ins(self) -> list[SignIn]:
        """The person's own browsers in every team, those that are signed in now, the last seen first."""
        self._require_own_browser()
        return list(
            self.session.scalars(
                select(SignIn)
                .where(
                    SignIn.user_id == self.user, SignIn.revoked_at.is_(None), SignIn.expires_at > db_now(),
                    SignIn.seen_at > db_now(-IDLE_SECONDS),
                )
                .order_by(SignIn.seen_at.desc(), SignIn.id.desc())
            )
        )  # fmt: skip

    def end_my_sign_in(self, sign_in_id: str) -> None:
        self._require_own_browser()
        found = self.session.scalar(select(SignIn).where(SignIn.id == sign_in_id, SignIn.user_id == self.user))
        if found is None:
            raise NotFound(f"You have no sign-in {sign_in_id[:80]!r}. Reload the page to see those you have.")
        found.revoked_at = found.revoked_at or db_now()  # type: ignore[assignment]
        self.session.flush()

    def switch_team(self, team_id: str) -> None:
        """This browser acts in another team of the person's from now on."""
        self._require_own_browser()
        assert isinstance(self.principal, Member)  # `can` has refused everybody else
        if self.session.get(Membership, (self.user, team_id)) is None:
            raise NotFound(f"You are in no team {team_id[:80]!r}. Choose one of yours from the menu.")
        self.session.execute(update(SignIn).where(SignIn.id == self.principal.sign_in).values(team_id=team_id))

    def _require_own_browser(self) -> None:
        self.require(Verb.CHANGE, Kind.SIGN_IN, self.team, self.user, "sign-ins")

    def add_team(self, name: str) -> Team:
        """A new team with the principal as its owner; for administrators of the installation."""
        self.require(Verb.CREATE, Kind.PERSON, None, None, "teams")
        if self.session.scalar(select(Team.id).where(func.lower(Team.name) == name.lower())) is not None:
            raise Conflict(f'There is a team "{name}" already. Choose another name.', param="name")
        team = Team(id=new_id("team"), name=name)
        self.session.add(team)
        self.session.flush()
        assert self.user is not None  # `can` has refused everybody who is nobody
        self.session.add(Membership(user_id=self.user, team_id=team.id, role=Role.OWNER))
        self.session.flush()
        return team

    def usage(self) -> Usage:
        def total(column: object, *where: object) -> int:
            return int(self.session.scalar(select(column).where(*where)) or 0)  # type: ignore[arg-type]

        adapters = (self.within(Adapter.team_id), Adapter.deleted_at.is_(None))
        merges = (self.within(Merge.team_id), Merge.deleted_at.is_(None))
        datasets = (self.within(DatasetVersion.team_id), DatasetVersion.deleted_at.is_(None))
        runs = (self.within(Job.team_id), Job.kind == "train", Job.deleted_at.is_(None))
        return Usage(
            adapters=total(func.count(Adapter.id), *adapters),
            merges=total(func.count(Merge.id), *merges),
            runs=total(func.count(Job.id), *runs),
            dataset_bytes=total(func.sum(DatasetVersion.size), *datasets),
            model_bytes=total(func.sum(Adapter.size), *adapters) + total(func.sum(Merge.size), *merges),
        )


def _invitation(row: Invitation, invited_by: str | None) -> InvitationSeen:
    return InvitationSeen(
        id=row.id, email=row.email, role=Role(row.role), invited_by=invited_by, created_at=row.created_at,
        expires_at=row.expires_at,
    )  # fmt: skip


def _key(row: ApiKey, email: str) -> KeySeen:
    return KeySeen(
        id=row.id, name=row.name, user_id=row.user_id, email=email, created_at=row.created_at,
        last_used_at=row.last_used_at,
    )  # fmt: skip
