"""Deletes a merge. What it was made from stays."""

import structlog

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.deleted import Deleted, note_of
from webapp.deps import Deps

log = structlog.get_logger()


def delete_merge(deps: Deps, principal: Principal, name_or_id: str) -> Deleted:
    """Raises NotFound or Forbidden."""
    with deps.database.write() as session:
        removed = TeamStore(session, principal).delete_merge(name_or_id)
    log.info("merge deleted", merge=name_or_id, team=principal.team)
    return Deleted(id=name_or_id, kind="merge", note=note_of(removed, "The merge"))
