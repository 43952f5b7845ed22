"""Who is behind an API key. Every request asks anew, so a revoked key is dead at once (promise P9)."""

from hashlib import sha256

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.access import Key
from models.domain.errors import NotSignedIn, Unavailable
from models.domain.ids import KeyId

log = structlog.get_logger()


def principal_of_key(database: Database, secret: str) -> Key:
    """Raises NotSignedIn with one sentence for unknown, revoked and disabled alike."""
    with database.read() as session:
        key = SystemStore(session).principal_of_key(digest_of(secret))
    if key is None:
        raise NotSignedIn("This API key is not known or no longer valid. Use another, or ask for a new one.")
    return key


def digest_of(secret: str) -> str:
    """A key is 256 random bits, so one plain hash protects it."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def record_key_use(database: Database, key: KeyId) -> None:
    """A courtesy, never a reason to refuse the request."""
    try:
        with database.write() as session:
            SystemStore(session).key_was_used(key)
    except Unavailable as error:
        log.warning("use of a key was not recorded", key=key, reason=error.message)
