"""Deletes an ended job from the history. What it made stays; its lineage then says that the run was deleted."""

import structlog

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.deleted import Deleted, note_of
from webapp.deps import Deps

log = structlog.get_logger()


def delete_job(deps: Deps, principal: Principal, job_id: str) -> Deleted:
    """Raises NotFound, Forbidden, or Conflict where it still waits or runs."""
    with deps.database.write() as session:
        removed = TeamStore(session, principal).delete_job(job_id)
    log.info("job deleted", job=job_id, team=principal.team)
    return Deleted(id=job_id, kind="job", note=note_of(removed, "The job"))
