"""API keys of the person who asks, and for owners those of the team. A key is shown once; its hash is stored."""

import secrets
import unicodedata
from dataclasses import dataclass

import structlog

from models.db.store.team import TeamStore
from models.db.store.team_people import KeySeen
from models.domain.access import Key, Member, Principal
from models.domain.errors import Invalid
from webapp.actions.create_key import KEY_BYTES, LONGEST_NAME
from webapp.actions.sign_in import digest_of
from webapp.deps import Deps

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """`secret` is shown once; nobody can read it again."""

    seen: KeySeen
    secret: str


def my_keys(deps: Deps, principal: Principal) -> list[KeySeen]:
    """Those in force in the team one is in now, newest first."""
    with deps.database.read() as session:
        return TeamStore(session, principal).my_keys()


def team_keys(deps: Deps, principal: Principal) -> list[KeySeen]:
    """Everybody's. Raises Forbidden for who is no owner."""
    with deps.database.read() as session:
        return TeamStore(session, principal).team_keys()


def make_key(deps: Deps, principal: Principal, name: str) -> NewKey:
    """Acts for its person in this team, with the role they have when it is used. Raises Invalid, Conflict."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"A key's name has 1 to {LONGEST_NAME} characters; this one has {len(name)}. Say what the key is for.",
            param="name",
        )
    secret = "tr-" + secrets.token_urlsafe(KEY_BYTES)
    with deps.database.write() as session:
        seen = TeamStore(session, principal).add_my_key(name, digest_of(secret))
    log.info("key created", by=seen.user_id, team=principal.team, key=seen.id)
    return NewKey(seen=seen, secret=secret)


def revoke_key(deps: Deps, principal: Principal, key_id: str) -> None:
    """Dead on the next request. One's own, or as an owner anybody's in the team."""
    with deps.database.write() as session:
        owner = TeamStore(session, principal).revoke_key(key_id).user_id
    by = principal.user if isinstance(principal, (Member, Key)) else None
    log.info("key revoked", by=by, team=principal.team, key=key_id, of=owner)
