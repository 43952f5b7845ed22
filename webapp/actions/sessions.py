"""Opens, recognises and ends a person's browser session. The cookie is 256 random bits; only its hash is stored."""

import secrets

import structlog
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.access import Member
from models.domain.errors import NotSignedIn, Unavailable
from models.domain.ids import SignInId
from webapp.actions.sign_in import digest_of

log = structlog.get_logger()

TOKEN_BYTES = 32


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


def check_password(database: Database, email: str, password: str) -> tuple[str, str]:
    """Returns (user id, team id) of the person. Unknown e-mails cost the same time as known ones.

    Raises NotSignedIn with one sentence for unknown, wrong, disabled and password-less alike.
    """
    with database.read() as session:
        store = SystemStore(session)
        user = store.user_by_email(email)
        teams = [membership.team_id for membership in store.memberships(user.id)] if user else []
    hashed = user.password_hash if user and user.password_hash and not user.disabled_at else None
    is_right = _HASHER.verify(password, hashed or _NOBODYS_HASH)
    if user is None or hashed is None or not is_right or not teams:
        raise NotSignedIn("This e-mail address and password do not belong together. Check both and try again.")
    return user.id, sorted(teams)[0]


_HASHER = PasswordHash((Argon2Hasher(time_cost=3, memory_cost=64 * 1024),))
_NOBODYS_HASH = _HASHER.hash(secrets.token_urlsafe(TOKEN_BYTES))
