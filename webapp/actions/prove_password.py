"""Is this person who they say they are, by password? The only door that asks, so that its limits hold everywhere.

Who guesses passwords must be stopped (S5), and who knows theirs must get in while somebody else guesses. So tries that
did not succeed are counted in budgets of 15 minutes, by account and place, in the database:

- *Strangers*: all places from which this account has never signed in share ACCOUNT tries. An attacker with 500
  addresses has as many as one with a single address.
- *Known places*: an address from which the account has signed in within 90 days, and a browser with the device cookie
  that a sign-in leaves, have a budget each. Whatever strangers do, the owner gets in from there: with the cookie from
  any address, without it from a known one. Only a new browser on a new address waits while an attack lasts.
- *Each address* has ADDRESS tries for all accounts together, so that one machine cannot try the same password on
  everybody. A browser with the cookie of the account is not counted there: an office shares one address.

An account is counted by what was typed, whether it exists or not: words, status and time are the same for both. A try
is written down as failed before the password is looked at, and set right afterwards, so that tries at the same moment
do not slip through. A refused try computes no hash, writes nothing and does not lengthen the wait. A new password
forgets all places. IPv6 addresses are counted by their /64, which is what one customer has.
"""

import ipaddress
from dataclasses import dataclass

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.store.tries import TryLimits
from models.db.tables import User
from models.domain.errors import Code, NotSignedIn, Unavailable
from models.domain.ids import SignInId
from webapp.actions.devices import device_cookie, device_of
from webapp.actions.passwords import FOR_KNOWN, FOR_STRANGERS, email_of, is_right
from webapp.actions.sign_in import digest_of

log = structlog.get_logger()

LIMITS = TryLimits(account=10, place=10, address=40)


@dataclass(frozen=True, kw_only=True)
class Knock:
    """One try, as it reached us. `device` is the device cookie, if one came.

    `sign_in` is set where the person is signed in and proves who they are once more: that browser is a place.
    """

    email: str
    password: str
    address: str
    device: str | None = None
    agent: str = ""
    sign_in: SignInId | None = None


@dataclass(frozen=True, kw_only=True)
class Proven:
    """Who it is, and the device cookie to leave with them."""

    user_id: str
    device: str


def prove_password(database: Database, secret_key: bytes, knock: Knock) -> Proven:
    """Raises NotSignedIn in one sentence for unknown, wrong, disabled and password-less, Unavailable(rate_limited)."""
    email, address = email_of(knock.email), place_of(knock.address)
    account = account_of(email)
    with database.read() as session:
        store = SystemStore(session)
        hashed = _usable_hash(store.user_by_email(email))
        device = device_of(secret_key, account, hashed, knock.device)
        place = knock.sign_in or (f"device:{device}" if device else address)
        is_known = place != address or store.is_known_place(account, address)
        _refuse_too_many(store.seconds_to_wait(account, place, LIMITS, is_known=is_known))
    with (FOR_KNOWN if is_known else FOR_STRANGERS).entered():
        try_id = count_try(database, account, place, is_known=is_known)
        has_matched = is_right(knock.password, hashed)
    with database.write() as session:
        store = SystemStore(session)
        user = store.user_by_email(email)
        if user is None or not has_matched or _usable_hash(user) != hashed:  # it may have changed meanwhile
            log.info("sign-in refused", account=account[:12], address=knock.address, known_place=is_known)
            raise NotSignedIn("This e-mail address and password do not belong together. Check both and try again.")
        cookie = device_cookie(secret_key, account, user.password_hash or "", device)
        store.try_succeeded(try_id, account, (address, f"device:{cookie.partition('.')[0]}"))
        return Proven(user_id=user.id, device=cookie)


def count_try(database: Database, account: str, place: str, *, is_known: bool) -> str:
    """Take one from the budgets; raises Unavailable(rate_limited) where one is empty. Returns the try's id."""
    with database.write() as session:
        store = SystemStore(session)
        store.one_at_a_time(f"account:{account}", f"place:{place}")
        _refuse_too_many(store.seconds_to_wait(account, place, LIMITS, is_known=is_known))
        return store.add_try(account, place, is_known=is_known)


def account_of(email: str) -> str:
    """What tries are counted by; `email` as `email_of` gives it."""
    return digest_of(f"account:{email}")


def place_of(address: str) -> str:
    """The address as it is counted: an IPv6 one by its /64, an IPv4 one inside IPv6 as itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def _usable_hash(user: User | None) -> str | None:
    return user.password_hash if user is not None and user.disabled_at is None else None


def _refuse_too_many(wait_seconds: float) -> None:
    if wait_seconds <= 0:
        return
    minutes = max(1, round(wait_seconds / 60))
    raise Unavailable(
        f"Too many tries to sign in that did not succeed. Try again in {minutes} min, or from a browser in which you "
        "have signed in before.",
        code=Code.RATE_LIMITED,
        retry_after_seconds=int(wait_seconds) + 1,
    )
