"""Queues the merge of an adapter into its base, to be published only if the gate lets it pass (promise P8)."""

from models.catalog.methods import METHODS
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Principal, Verb
from models.domain.errors import Invalid
from models.domain.ids import AdapterId
from models.domain.job import JobKind, Lane
from models.domain.merging import MergeSpec
from webapp.actions.once import made_before, one_create_at_a_time
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps


def merge_adapter(deps: Deps, principal: Principal, spec: MergeSpec, *, request_hash: str | None = None) -> JobSeen:
    """`spec.adapter` may be the adapter's id or its public name.

    Raises NotFound, Forbidden, or Invalid where the method's result cannot be added into weights.
    """
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        one_create_at_a_time(SystemStore(session), principal)
        if (earlier := made_before(store, request_hash)) is not None:
            return see(store, earlier)
        adapter = store.adapter(spec.adapter, Verb.USE)
        method = adapter.manifest["method"]
        if method in METHODS and not METHODS[method].is_mergeable:
            raise Invalid(
                f"An adapter of the method {METHODS[method].title} cannot be added into the base's weights. "
                "Use it as an adapter.",
                param="adapter",
            )
        spec = spec.model_copy(update={"adapter": AdapterId(adapter.id)})
        seen = see(store, store.submit(JobKind.MERGE, spec.model_dump(mode="json"), request_hash=request_hash))
    ring(deps.broker, Lane.JOBS)
    return seen
