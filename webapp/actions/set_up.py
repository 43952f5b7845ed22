"""The first administrator's way in: a link that is said once at start, and dies when an administrator exists.

There is no default password. Unknown, expired, used and outdated links are the same NotFound.
"""

import re
import secrets

import structlog

from models.db.engine import Database
from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.tables import Team
from models.domain.access import Role
from models.domain.errors import Conflict, NotFound
from webapp.actions.devices import device_cookie
from webapp.actions.passwords import hash_password, new_email, new_password
from webapp.actions.prove_password import account_of
from webapp.actions.sessions import TOKEN_BYTES, SignedIn, open_session
from webapp.actions.sign_in import digest_of
from webapp.deps import Deps

log = structlog.get_logger()

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # what 32 bytes are in URL-safe base 64


def new_setup_link(database: Database, address: str) -> str | None:
    """A new link below `address`, which makes all older ones worthless; None while there is an administrator."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with database.write() as session:
        is_needed = SystemStore(session).replace_setup_token(digest_of(token))
    return f"{address.rstrip('/')}/setup/{token}" if is_needed else None


def check_setup_link(database: Database, token: str) -> None:
    """Raises NotFound unless it can be used now."""
    if TOKEN.fullmatch(token) is None:
        raise no_setup_link()
    with database.read() as session:
        if not SystemStore(session).is_setup_token(digest_of(token)):
            raise no_setup_link()


def set_up(deps: Deps, token: str, email: str, password: str, *, address: str, agent: str) -> SignedIn:
    """Make the administrator, owner of the team `default`, and sign them in. Raises Invalid, Conflict, NotFound."""
    check_setup_link(deps.database, token)
    wanted = new_email(email)
    hashed = hash_password(new_password(password, wanted))
    with deps.database.write() as session:
        store = SystemStore(session)
        if not store.use_setup_token(digest_of(token)):
            raise no_setup_link()  # somebody was quicker
        store.one_at_a_time(f"user:{wanted}")
        if store.user_by_email(wanted) is not None:
            raise Conflict(f"A user {wanted} exists already. Use another e-mail address.", param="email")
        team = session.get_one(Team, DEFAULT_TEAM)
        user = store.add_user(wanted, team, Role.OWNER, is_admin=True, password_hash=hashed)
    log.info("first administrator set up", user=user.id, address=address)
    return SignedIn(
        token=open_session(deps.database, user.id, DEFAULT_TEAM, address=address, agent=agent),
        device=device_cookie(deps.secret_key, account_of(wanted), hashed),
    )


def no_setup_link() -> NotFound:
    """One sentence for every reason."""
    return NotFound(
        "This setup link does not exist or is no longer valid. While there is no administrator, each start of Tuneroom "
        "prints a new one."
    )
