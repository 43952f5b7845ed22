"""Whether this installation can do its work now, part by part. Says what is missing and nothing else."""

from dataclasses import dataclass

from models.db.store.system import SystemStore
from models.domain.errors import Unavailable
from models.domain.job import Lane
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """`workers` counts live worker processes by lane; it is empty while the database is away."""

    database: bool
    broker: bool
    storage: bool
    workers: dict[Lane, int]

    @property
    def missing(self) -> list[str]:
        parts = {"database": self.database, "broker": self.broker, "storage": self.storage}
        return [name for name, works in parts.items() if not works] + [
            f"worker {lane.value}" for lane in Lane if not self.workers.get(lane)
        ]


def readiness(deps: Deps) -> Readiness:
    """Asks every part itself; nothing is remembered from before."""
    workers = live_workers(deps)
    return Readiness(
        database=workers is not None,
        broker=deps.broker.is_alive(),
        storage=deps.storage.is_alive(),
        workers=workers or {},
    )


def live_workers(deps: Deps) -> dict[Lane, int] | None:
    """Worker processes seen within a lease, by lane; None while the database does not answer."""
    try:
        with deps.database.read() as session:
            seen = SystemStore(session).workers(deps.settings.lease_seconds)
    except Unavailable:
        return None
    return {lane: sum(worker.lane == lane for worker in seen) for lane in Lane}
