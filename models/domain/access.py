"""Who may do what: roles, verbs, objects and the one function `can`. The data layer calls it; nobody else decides.

Another team's object is not "forbidden" but absent: TeamStore never finds it (promise P9).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from models.domain.ids import AdapterId, KeyId, LinkId, SignInId, TeamId, UserId


class Role(StrEnum):
    """A person's part in one team."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


class Verb(StrEnum):
    READ = "read"
    USE = "use"  # chat with, train on, merge
    CREATE = "create"
    CHANGE = "change"  # cancel, rename, hold
    DELETE = "delete"


class Kind(StrEnum):
    """Kinds of objects that `can` knows."""

    DATASET = "dataset"
    JOB = "job"
    ADAPTER = "adapter"
    MERGE = "merge"
    BASE = "base"
    CONVERSATION = "conversation"
    KEY = "key"
    SECRET = "secret"
    PERSON = "person"  # members of a team, their roles, invitations
    LINK = "link"
    SIGN_IN = "sign-in"  # a browser of a person, in whatever team
    PRESET = "preset"  # settings of trainings, kept by a person or shared with the team


@dataclass(frozen=True, kw_only=True)
class Object:
    """What is asked about. `team` None means instance-wide (base models, samples); `owner` who made it.

    What `is_private` is there for its owner alone, who may do with it what the role allows.
    """

    kind: Kind
    team: TeamId | None
    owner: UserId | None = None
    id: str | None = None  # only a link asks which one
    is_private: bool = False


@dataclass(frozen=True, kw_only=True)
class Member:
    """A signed-in person, acting in one team. `sign_in` names the browser's session."""

    user: UserId
    team: TeamId
    role: Role
    is_admin: bool = False
    sign_in: SignInId | None = None


@dataclass(frozen=True, kw_only=True)
class Key:
    """An API key: its person's rights in the key's team, never an administrator's."""

    key: KeyId
    user: UserId
    team: TeamId
    role: Role


@dataclass(frozen=True, kw_only=True)
class Link:
    """Whoever holds a link: may use one adapter, and learns of nothing else."""

    link: LinkId
    team: TeamId
    adapter: AdapterId


@dataclass(frozen=True, kw_only=True)
class System:
    """The installation itself: start-up imports and the command line on the machine."""

    team: TeamId


Principal = Member | Key | Link | System

_NEVER_BY_KEY = frozenset({Kind.PERSON, Kind.KEY, Kind.SIGN_IN})  # a stolen key must not make itself at home
_MEMBER_MAKES = frozenset({Kind.DATASET, Kind.JOB, Kind.ADAPTER, Kind.MERGE, Kind.CONVERSATION, Kind.LINK, Kind.PRESET})


def can(principal: Principal, verb: Verb, thing: Object) -> bool:
    """The whole table. Instance-wide things are read and used by all and written by instance admins."""
    match principal:
        case System():
            return True
        case Link(team=team, adapter=adapter):
            return (verb, thing.kind, thing.team, thing.id) == (Verb.USE, Kind.ADAPTER, team, adapter)
        case Member(is_admin=True):
            if thing.team is None or thing.kind is Kind.PERSON:
                return True
            return thing.team == principal.team and _in_team(principal.user, Role.OWNER, verb, thing)
        case Key() if thing.kind in _NEVER_BY_KEY and verb is not Verb.READ:
            return False
        case Member() | Key():
            if thing.team is None:
                return verb in (Verb.READ, Verb.USE)
            return thing.team == principal.team and _in_team(principal.user, principal.role, verb, thing)
        case _:
            assert_never(principal)


def _in_team(user: UserId, role: Role, verb: Verb, thing: Object) -> bool:
    if thing.is_private and thing.owner != user:
        return False
    if thing.kind is Kind.KEY:
        return thing.owner == user or (role is Role.OWNER and verb in (Verb.READ, Verb.DELETE))
    if thing.kind is Kind.SIGN_IN:
        return thing.owner == user
    if thing.kind is Kind.CONVERSATION:
        return verb is Verb.CREATE or thing.owner == user
    if thing.kind is Kind.PERSON and verb is Verb.READ:
        return True
    if thing.kind in (Kind.SECRET, Kind.PERSON):
        return role is Role.OWNER
    match role:
        case Role.OWNER:
            return True
        case Role.MEMBER:
            if verb in (Verb.READ, Verb.USE):
                return True
            if verb is Verb.CREATE:
                return thing.kind in _MEMBER_MAKES
            return thing.kind in _MEMBER_MAKES and thing.owner == user
        case Role.VIEWER:
            return verb is Verb.READ or (verb is Verb.USE and thing.kind in (Kind.ADAPTER, Kind.MERGE, Kind.BASE))
        case _:
            assert_never(role)
