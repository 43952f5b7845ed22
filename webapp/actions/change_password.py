"""A new password: by the person who knows the old one, or by the command line on the machine. Ends other sign-ins."""

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Member
from models.domain.errors import Invalid, NotFound, NotSignedIn
from webapp.actions.devices import device_cookie
from webapp.actions.passwords import email_of, generated_password, hash_password, new_password
from webapp.actions.prove_password import Knock, account_of, prove_password
from webapp.deps import Deps

log = structlog.get_logger()


def change_password(deps: Deps, member: Member, old: str, new: str, *, address: str, device: str | None = None) -> str:
    """Returns the new device cookie. Every other browser of the person is signed out.

    Raises Invalid with `param` old or new, and Unavailable(rate_limited) after too many wrong ones.
    """
    with deps.database.read() as session:
        user = TeamStore(session, member).me()[0]
    assert user is not None  # a member is somebody
    email = user.email
    wanted = new_password(new, email, field="new")
    if old == new:
        raise Invalid("This is the password you have. Choose another one.", param="new")
    try:
        prove_password(
            deps.database, deps.secret_key,
            Knock(email=email, password=old, address=address, device=device, sign_in=member.sign_in),
        )  # fmt: skip
    except NotSignedIn:
        raise Invalid("This is not your password now. Type the one you signed in with.", param="old") from None
    hashed = hash_password(wanted)
    _replace(deps.database, member.user, email, hashed, keep=member.sign_in)
    log.info("password changed", user=member.user, address=address)
    return device_cookie(deps.secret_key, account_of(email), hashed)


def reset_password(database: Database, typed: str) -> str:
    """A generated password for somebody who lost theirs; signed out everywhere, free to sign in at once."""
    email = email_of(typed)
    with database.read() as session:
        user = SystemStore(session).user_by_email(email)
    if user is None:
        raise NotFound(f"There is no user {typed[:80]!r}. `tuneroom user add {typed[:80]}` adds one.")
    password = generated_password()
    _replace(database, user.id, email, hash_password(password), keep=None)
    log.info("password reset on the machine", user=user.id)
    return password


def _replace(database: Database, user_id: str, email: str, hashed: str, *, keep: str | None) -> None:
    with database.write() as session:
        store = SystemStore(session)
        store.set_password(user_id, hashed)
        store.end_sign_ins_of(user_id, but=keep)
        store.forget_tries(account_of(email))
