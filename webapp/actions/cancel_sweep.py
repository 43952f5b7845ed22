"""Ends what of a sweep has not started. Runs that are at work go on, and are cancelled one by one."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.deps import Deps


def cancel_sweep(deps: Deps, principal: Principal, sweep_id: str) -> int:
    """How many runs were taken out of the queue. Raises NotFound and Forbidden."""
    with deps.database.write() as session:
        return TeamStore(session, principal).cancel_waiting(sweep_id)
