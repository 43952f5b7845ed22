"""Makes an API key for a person in one team. The key is shown once; its hash is stored."""

import secrets

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.errors import Invalid, NotFound
from webapp.actions.sign_in import digest_of

log = structlog.get_logger()

KEY_BYTES = 32  # 43 characters after "tr-"
LONGEST_NAME = 64


def create_key(database: Database, email: str, *, team: str | None = None, name: str = "key") -> str:
    """Returns the key. `team` may stay None where the person is in one team only.

    Raises NotFound for an unknown person or team, Invalid where the team must be named.
    """
    if not 0 < len(name) <= LONGEST_NAME:
        raise Invalid(f"A key's name has 1 to {LONGEST_NAME} characters; this one has {len(name)}.", param="name")
    secret = "tr-" + secrets.token_urlsafe(KEY_BYTES)
    with database.write() as session:
        store = SystemStore(session)
        user = store.user_by_email(email)
        if user is None:
            raise NotFound(f"There is no user {email[:80]!r}. `tuneroom user add {email[:80]}` adds one.")
        theirs = [membership.team_id for membership in store.memberships(user.id)]
        if team is not None:
            wanted = store.team_named(team).id
            if wanted not in theirs:
                raise NotFound(f"{user.email} is not in the team {team!r}. Choose a team of theirs.")
        elif len(theirs) == 1:
            wanted = theirs[0]
        else:
            raise Invalid(f"{user.email} is in {len(theirs)} teams. Say which one with --team.", param="team")
        key = store.add_key(user, wanted, name, digest_of(secret))
    log.info("key created on the machine", key=key.id, of=user.id, team=wanted)
    return secret
