"""One adapter or one merge with all around it: what it is, where it comes from, what came of it, who may what."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.db.store.team import TeamStore
from models.db.tables import Adapter, BaseModel, Job, Merge
from models.domain.access import Kind, Object, Principal, Verb, can
from models.domain.errors import NotFound
from models.domain.ids import TeamId, UserId
from models.domain.training import Quantisation
from webapp.actions.adapter_facts import AdapterFacts, facts_of, trained_parameters
from webapp.actions.links import LinkSeen, list_links
from webapp.actions.show_models import PRECISION
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Something in the lineage. `href` None: it is gone, its name is remembered."""

    what: str
    name: str
    href: str | None


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """The newest job that merges this adapter. `report` is the gate's, whether it let the merge pass or not."""

    id: str
    state: str
    phase: str | None
    done: int | None
    total: int | None
    mode: str
    storage: str
    error: str | None
    report: dict[str, Any] | None
    merge: str | None
    is_cancelling: bool
    may_cancel: bool
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ModelPage:
    """What adapters and merges have in common. `name` is the public id."""

    id: str
    name: str
    base: str
    base_parameters: int | None
    licence: str | None
    precision: str
    size: int
    maker: str | None
    created_at: datetime
    lineage: tuple[Neighbour, ...]
    may_delete: bool
    may_chat: bool


@dataclass(frozen=True, kw_only=True)
class AdapterPage(ModelPage):
    is_partial: bool
    facts: AdapterFacts
    trained_parameters: int | None
    run: str | None  # the job that made it; None where that was deleted
    manifest: dict[str, Any]
    card: str
    merges: tuple[Neighbour, ...]
    merging: MergeJob | None
    links: tuple[LinkSeen, ...]
    may_change: bool
    may_merge: bool
    may_share: bool


@dataclass(frozen=True, kw_only=True)
class MergePage(ModelPage):
    mode: str
    storage: str
    report: dict[str, Any]


def describe_adapter(deps: Deps, principal: Principal, adapter_id: str) -> AdapterPage:
    """Raises NotFound."""
    links = tuple(list_links(deps, principal, adapter_id))
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        row = store.adapter(adapter_id)
        base = session.get_one(BaseModel, row.base_id)
        quantisation = Quantisation(row.quantisation)
        merging = store.last_merge_job(row.id)
        merges = tuple(_neighbour_of(merge) for merge in store.merges_of(row.id))
        return AdapterPage(
            id=row.id,
            name=row.name,
            base=base.name,
            base_parameters=base.shapes.get("parameters"),
            licence=base.licence,
            precision=PRECISION[quantisation],
            size=row.size,
            maker=store.email_of(row.created_by),
            created_at=row.created_at,
            lineage=(*_before(store, row, base), Neighbour(what="Adapter", name=row.name, href=_page_of(row.id))),
            may_delete=_may(principal, Verb.DELETE, Kind.ADAPTER, row),
            may_chat=_may(principal, Verb.USE, Kind.ADAPTER, row),
            is_partial=row.is_partial,
            facts=facts_of(row.manifest),
            trained_parameters=trained_parameters(row.manifest, base.shapes),
            run=_run_of(store, row),
            manifest=row.manifest,
            card=row.card,
            merges=merges,
            merging=_merge_job(store, principal, merging) if merging else None,
            links=links,
            may_change=_may(principal, Verb.CHANGE, Kind.ADAPTER, row),
            may_merge=_may_create(principal, Kind.JOB),
            may_share=_may_create(principal, Kind.LINK),
        )


def describe_merge(deps: Deps, principal: Principal, merge_id: str) -> MergePage:
    """Raises NotFound. The adapter it was made from may be gone."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        row = store.merge(merge_id)
        base = session.get_one(BaseModel, row.base_id)
        adapter = session.get_one(Adapter, row.adapter_id)
        source = Neighbour(what="Adapter", name=adapter.name, href=None if adapter.deleted_at else _page_of(adapter.id))
        return MergePage(
            id=row.id,
            name=row.name,
            base=base.name,
            base_parameters=base.shapes.get("parameters"),
            licence=base.licence,
            precision=f"full precision ({row.storage_dtype})",
            size=row.size,
            maker=store.email_of(row.created_by),
            created_at=row.created_at,
            lineage=(
                *_before(store, adapter, base),
                source,
                Neighbour(what="Merge", name=row.name, href=_page_of(row.id)),
            ),
            may_delete=_may(principal, Verb.DELETE, Kind.MERGE, row),
            may_chat=_may(principal, Verb.USE, Kind.MERGE, row),
            mode=row.mode,
            storage=row.storage_dtype,
            report=row.report,
        )


def _before(store: TeamStore, adapter: Adapter, base: BaseModel) -> list[Neighbour]:
    """Base, data and run of an adapter. What was deleted keeps its name and loses its link."""
    found = [Neighbour(what="Base model", name=base.name, href=None if base.deleted_at else "/bases")]
    try:
        job = store.job(adapter.job_id)
    except NotFound:
        return [*found, Neighbour(what="Run", name="deleted", href=None)]
    data = job.spec.get("data") or {}
    for what, key in (("Dataset", "training_file"), ("Held-out dataset", "validation_file")):
        origin = store.origin_of(data[key]) if data.get(key) else None
        if origin is not None:
            name = f"{origin.dataset.name} v{origin.version.number}"
            found.append(
                Neighbour(what=what, name=name, href=None if origin.is_gone else f"/dataset?id={origin.dataset.id}")
            )
    found += _parent(store, adapter)
    name = job.spec.get("suffix") or job.id
    return [*found, Neighbour(what="Run", name=str(name), href=f"/run?id={job.id}")]


def _parent(store: TeamStore, adapter: Adapter) -> list[Neighbour]:
    """The adapter that this one was continued from."""
    told = adapter.manifest.get("continued_from")
    if not told:
        return []
    try:
        parent = store.adapter(told["id"])
    except NotFound:
        return [Neighbour(what="Continued from", name=told["id"], href=None)]
    return [Neighbour(what="Continued from", name=parent.name, href=_page_of(parent.id))]


def _run_of(store: TeamStore, adapter: Adapter) -> str | None:
    try:
        return store.job(adapter.job_id).id
    except NotFound:
        return None


def _merge_job(store: TeamStore, principal: Principal, job: Job) -> MergeJob:
    merge = store.merge_of_job(job.id)
    error = job.error or {}
    report = merge.report if merge else (error.get("facts") or {}).get("report")
    owner = UserId(job.created_by) if job.created_by else None
    thing = Object(kind=Kind.JOB, team=TeamId(job.team_id) if job.team_id else None, owner=owner)
    return MergeJob(
        id=job.id,
        state=job.state,
        phase=job.phase,
        done=job.done,
        total=job.total,
        mode=str(job.spec.get("mode", "")),
        storage=str(job.spec.get("storage", "")),
        error=error.get("message"),
        report=report if isinstance(report, dict) else None,
        merge=merge.id if merge and merge.deleted_at is None else None,
        is_cancelling=job.cancel_requested_at is not None,
        may_cancel=can(principal, Verb.CHANGE, thing),
        finished_at=job.finished_at,
    )


def _neighbour_of(merge: Merge) -> Neighbour:
    return Neighbour(what="Merge", name=merge.name, href=_page_of(merge.id))


def _page_of(model_id: str) -> str:
    return f"/adapter?id={model_id}"


def _may(principal: Principal, verb: Verb, kind: Kind, row: Adapter | Merge) -> bool:
    owner = UserId(row.created_by) if row.created_by else None
    return can(principal, verb, Object(kind=kind, team=TeamId(row.team_id), owner=owner, id=row.id))


def _may_create(principal: Principal, kind: Kind) -> bool:
    return can(principal, Verb.CREATE, Object(kind=kind, team=principal.team))
