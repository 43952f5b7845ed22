"""Deletes a dataset with all its versions. Trainings that have ended keep their lineage."""

import structlog

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.deleted import Deleted, note_of
from webapp.deps import Deps

log = structlog.get_logger()


def delete_dataset(deps: Deps, principal: Principal, dataset_id: str) -> Deleted:
    """Raises NotFound, Forbidden, or Conflict naming the jobs that still need it."""
    with deps.database.write() as session:
        removed = TeamStore(session, principal).delete_dataset(dataset_id)
    log.info("dataset deleted", dataset=dataset_id, team=principal.team)
    return Deleted(id=dataset_id, kind="dataset", note=note_of(removed, "The dataset"))
