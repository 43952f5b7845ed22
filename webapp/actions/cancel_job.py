"""Ends a job: a queued one at once, a running one at its next step, on request with the adapter so far."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.job import CancelWish, JobKind
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps


def cancel_job(
    deps: Deps,
    principal: Principal,
    job_id: str,
    wish: CancelWish = CancelWish.DISCARD,
    kinds: tuple[JobKind, ...] = (),
) -> JobSeen:
    """Raises NotFound, Forbidden, or Conflict where the job has ended."""
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.job(job_id, kinds=kinds)
        return see(store, store.request_cancel(job_id, wish))
