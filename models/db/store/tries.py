"""The part of SystemStore that counts tries to sign in. The table is the one memory: it survives restarts and is shared
by all replicas. Knows no password and does not decide how many are too many.

A failed try is kept for as long as it counts; of the successful ones the newest of each place, which makes the place
known to the account. A place is an address, or a device that carries our cookie.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from models.db.tables import SignInTry, db_now
from models.domain.ids import new_id

WINDOW_SECONDS = 15 * 60
PLACE_KNOWN_SECONDS = 90 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class TryLimits:
    """How many tries that did not succeed each budget holds within WINDOW_SECONDS."""

    account: int
    place: int
    address: int


class TriesStore:
    """Tries to sign in."""

    session: Session

    def is_known_place(self, account_sha256: str, place: str) -> bool:
        """Has this account signed in from there within PLACE_KNOWN_SECONDS?"""
        return (
            self.session.scalar(
                select(SignInTry.id)
                .where(
                    SignInTry.account_sha256 == account_sha256, SignInTry.address == place,
                    SignInTry.has_succeeded, SignInTry.at > db_now(-PLACE_KNOWN_SECONDS),
                )
                .limit(1)
            )
            is not None
        )  # fmt: skip

    def seconds_to_wait(self, account_sha256: str, place: str, limits: TryLimits, *, is_known: bool) -> float:
        """0 if one more try fits into the budgets, else how long until it does.

        A known place has a budget of its own for the account, so that tries from elsewhere never use it up.
        """
        mine = [SignInTry.account_sha256 == account_sha256, SignInTry.is_known_device == is_known]
        if is_known:
            mine.append(SignInTry.address == place)
        return max(
            self._wait(limits.place if is_known else limits.account, *mine),
            self._wait(limits.address, SignInTry.address == place),
        )

    def add_try(self, account_sha256: str, place: str, *, is_known: bool) -> str:
        """Counts as failed until `try_succeeded`: whoever goes away in the middle has tried. Returns its id."""
        row = SignInTry(id=new_id("try"), account_sha256=account_sha256, address=place, is_known_device=is_known)
        self.session.add(row)
        self.session.execute(
            delete(SignInTry).where(
                ~SignInTry.has_succeeded & (SignInTry.at < db_now(-WINDOW_SECONDS))
                | (SignInTry.at < db_now(-PLACE_KNOWN_SECONDS))
            )
        )
        self.session.flush()
        return row.id

    def try_succeeded(self, try_id: str, account_sha256: str, places: tuple[str, ...]) -> None:
        """The account is at home in `places` from now on."""
        self.session.execute(
            delete(SignInTry).where(
                SignInTry.account_sha256 == account_sha256, SignInTry.has_succeeded, SignInTry.address.in_(places)
            )
        )
        self.session.execute(
            update(SignInTry).where(SignInTry.id == try_id).values(has_succeeded=True, address=places[0])
        )
        for place in places[1:]:
            self.session.add(
                SignInTry(id=new_id("try"), account_sha256=account_sha256, address=place, has_succeeded=True)
            )
        self.session.flush()

    def forget_tries(self, account_sha256: str) -> None:
        """With a new password everything begins anew: no place is known, and nobody waits."""
        self.session.execute(delete(SignInTry).where(SignInTry.account_sha256 == account_sha256))

    def one_at_a_time(self, *names: str) -> None:
        """Hold these names until the commit. SQLite's writers queue anyway."""
        if self.session.get_bind().dialect.name != "postgresql":
            return
        for name in sorted(set(names)):  # one order for all, so that nobody waits in a circle
            self.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

    def _wait(self, most: int, *where: object) -> float:
        counted: list[datetime] = list(
            self.session.scalars(
                select(SignInTry.at)
                .where(*where, ~SignInTry.has_succeeded, SignInTry.at > db_now(-WINDOW_SECONDS))  # type: ignore[arg-type]
                .order_by(SignInTry.at.desc())
                .limit(most)
            )
        )
        if len(counted) < most:
            return 0.0
        now = self.session.scalar(select(db_now()))
        assert now is not None
        return max(1.0, (counted[-1] + timedelta(seconds=WINDOW_SECONDS) - now).total_seconds())
