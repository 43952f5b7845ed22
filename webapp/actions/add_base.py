"""Queues the import of a base model, for everybody on this installation. Only administrators may."""

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Kind, Principal, Verb
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Conflict
from models.domain.job import JobKind, Lane
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps


def add_base(deps: Deps, principal: Principal, spec: AddBaseSpec) -> JobSeen:
    """The command line on the machine may name folders and files; the HTTP interface only gives hub references.

    Raises Forbidden, or Conflict where a base of this name is here or on its way.
    """
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.BASE, None, store.user, "base models of this installation")
        if SystemStore(session).has_base_or_import(spec.name):
            raise Conflict(f'A base model "{spec.name}" is here already, or being imported. Choose another name.')
        seen = see(store, store.submit(JobKind.ADD_BASE, spec.model_dump(mode="json"), shared=True))
    ring(deps.broker, Lane.LIGHT)
    return seen
