"""What an e-mail address and a password may be, and the only place that hashes. Knows no database.

Both are brought to Unicode's NFKC form first, so that a password typed on another keyboard stays the same one. Lengths
are bounded before anything is computed. Hashing takes 64 MiB and a tenth of a second, so it must not be a lever: few
hashes run at once, few wait for their turn, and who has signed in here before does not wait behind strangers.
"""

import re
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from models.domain.errors import Code, Invalid, Unavailable

LEAST_PASSWORD, LONGEST_PASSWORD = 12, 256  # characters
LONGEST_EMAIL = 320
PASSWORD_BYTES = 18  # of a generated one: 24 characters
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_HASHER = PasswordHash((Argon2Hasher(time_cost=3, memory_cost=64 * 1024),))


class Turnstile:
    """At most `at_once` inside and `waiting` before it; everybody else is told to come again."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._inside = threading.BoundedSemaphore(at_once)
        self._room = threading.BoundedSemaphore(at_once + waiting)

    @contextmanager
    def entered(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise Unavailable(
                "Too many people sign in at this moment. Try again in a few seconds.",
                code=Code.RATE_LIMITED,
                retry_after_seconds=5,
            )
        try:
            with self._inside:
                yield
        finally:
            self._room.release()


FOR_KNOWN = Turnstile(at_once=2, waiting=16)  # places from which this account has signed in, and signed-in people
FOR_STRANGERS = Turnstile(at_once=1, waiting=8)


def email_of(typed: str) -> str:
    """The address as it is stored and compared."""
    return unicodedata.normalize("NFKC", typed[: LONGEST_EMAIL * 2].replace("\0", "")).strip().lower()


def new_email(typed: str) -> str:
    """For somebody who is added. Raises Invalid."""
    email = email_of(typed)
    if "\0" in typed or not _EMAIL.fullmatch(email) or len(email) > LONGEST_EMAIL or not email.isprintable():
        raise Invalid(f"{typed[:80]!r} is not an e-mail address. Give one like name@example.org.", param="email")
    return email


def new_password(typed: str, email: str = "", *, field: str = "password") -> str:
    """What will be hashed. Raises Invalid with what was found and what is needed."""
    if len(typed) > LONGEST_PASSWORD:
        raise _refused(f"This one has {len(typed):,} characters; at most {LONGEST_PASSWORD} are possible.", field)
    password = unicodedata.normalize("NFKC", typed)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in password):
        raise _refused("This one holds a control character. Type it with letters, digits, signs and spaces.", field)
    if len(password) < LEAST_PASSWORD:
        count = "1 character" if len(password) == 1 else f"{len(password)} characters"
        found = f"This one has {count}" if typed else "Nothing was typed"
        raise _refused(f"{found}; at least {LEAST_PASSWORD} are needed. Several words make a good one.", field)
    if len(set(password)) < 4 or password.lower() == email:
        raise _refused("This one is guessed at once. Use several words that only you put together.", field)
    return password


def generated_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def hash_password(password: str) -> str:
    """argon2id, 64 MiB, 3 passes. Only for what `new_password` or `generated_password` gave."""
    with FOR_KNOWN.entered():
        return _HASHER.hash(password)


def is_right(typed: str, password_hash: str | None) -> bool:
    """Costs the same for everybody, with an account or without. Call it inside a Turnstile."""
    fits = len(typed) <= LONGEST_PASSWORD
    password = unicodedata.normalize("NFKC", typed) if fits else ""
    matches = _HASHER.verify(password, password_hash or _nobodys_hash())
    return matches and fits and password_hash is not None


def _refused(sentence: str, field: str) -> Invalid:
    return Invalid(sentence, param=field)


@cache
def _nobodys_hash() -> str:
    """Made when first needed: no command that only imports this pays for it."""
    return _HASHER.hash(generated_password())
