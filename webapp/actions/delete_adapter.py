"""Deletes an adapter. Links to it end at once; merges made from it stay."""

import structlog

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.deleted import Deleted, note_of
from webapp.deps import Deps

log = structlog.get_logger()


def delete_adapter(deps: Deps, principal: Principal, name_or_id: str) -> Deleted:
    """Raises NotFound, Forbidden, or Conflict naming the merge that still runs."""
    with deps.database.write() as session:
        removed = TeamStore(session, principal).delete_adapter(name_or_id)
    log.info("adapter deleted", adapter=name_or_id, team=principal.team)
    return Deleted(id=name_or_id, kind="adapter", note=note_of(removed, "The adapter"))
