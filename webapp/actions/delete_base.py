"""Deletes a base model for the whole installation. Only administrators may."""

import structlog

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.deleted import Deleted, note_of
from webapp.deps import Deps

log = structlog.get_logger()


def delete_base(deps: Deps, principal: Principal, name_or_id: str) -> Deleted:
    """Raises NotFound, Forbidden, or Conflict naming the adapters and jobs that need it."""
    with deps.database.write() as session:
        removed = TeamStore(session, principal).delete_base(name_or_id)
    log.info("base deleted", base=name_or_id, team=principal.team)
    return Deleted(id=name_or_id, kind="base", note=note_of(removed, "The base model"))
