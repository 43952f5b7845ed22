"""Adds a person to a team with a generated password. Only the command line on the machine calls it, for now."""

import re
import secrets

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.access import Role
from models.domain.errors import Invalid

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
PASSWORD_BYTES = 18  # 24 characters


def add_user(
    database: Database, email: str, *, team: str = "default", role: str = "member", admin: bool = False
) -> str:
    """Returns the password, which is stored only as argon2id (64 MiB, 3 passes).

    Raises Invalid, NotFound (team), Conflict (e-mail known).
    """
    email = email.strip()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email[:80]!r} is not an e-mail address. Give one like name@example.org.", param="email")
    if role not in list(Role):
        raise Invalid(f"{role!r} is not a role; the roles are {', '.join(Role)}.", param="role")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    hashed = hash_password(password)
    with database.write() as session:
        store = SystemStore(session)
        store.add_user(email, store.team_named(team), Role(role), is_admin=admin, password_hash=hashed)
    return password


def hash_password(password: str) -> str:
    return PasswordHash((Argon2Hasher(time_cost=3, memory_cost=64 * 1024),)).hash(password)
