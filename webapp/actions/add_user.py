"""Adds a person to a team with a generated password. Only the command line on the machine calls it."""

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.access import Role
from models.domain.errors import Invalid
from webapp.actions.passwords import generated_password, hash_password, new_email

log = structlog.get_logger()


def add_user(
    database: Database, email: str, *, team: str = "default", role: str = "member", admin: bool = False
) -> str:
    """Returns the password, which is stored only as argon2id (64 MiB, 3 passes).

    Raises Invalid, NotFound (team), Conflict (e-mail known).
    """
    email = new_email(email)
    if role not in list(Role):
        raise Invalid(f"{role!r} is not a role; the roles are {', '.join(Role)}.", param="role")
    password = generated_password()
    hashed = hash_password(password)
    with database.write() as session:
        store = SystemStore(session)
        added = store.add_user(email, store.team_named(team), Role(role), is_admin=admin, password_hash=hashed)
    log.info("person added on the machine", person=added.id, team=team, role=role, admin=admin)
    return password
