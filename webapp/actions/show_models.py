"""Everything a team can talk to, as one kind of thing: bases of the installation, its own adapters and merges."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Any, TypeVar

from models.db.store.scope import Page
from models.db.store.team import TeamStore
from models.db.tables import Adapter, BaseModel, Merge
from models.domain.access import Principal
from models.domain.chat import TreeRef
from models.domain.ids import Sha256
from models.domain.training import Quantisation
from webapp.actions.download_tree import zip_of
from webapp.deps import Deps

PAGE = 500
PRECISION = {kind: kind.words for kind in Quantisation}

RowT = TypeVar("RowT", Adapter, Merge)


class ModelKind(StrEnum):
    BASE = "base"
    ADAPTER = "adapter"
    MERGE = "merge"


@dataclass(frozen=True, kw_only=True)
class ModelSeen:
    """`name` is the public model id; `precision` names the weights that answer; `facts` differ by kind, as JSON."""

    kind: ModelKind
    id: str
    name: str
    created_at: datetime
    team: str | None
    base: str
    precision: str
    quantisation: Quantisation
    size: int
    licence: str | None
    facts: dict[str, Any]
    tree: TreeRef


def list_models(deps: Deps, principal: Principal) -> list[ModelSeen]:
    """Bases, then adapters and merges, newest first."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        bases = {base.id: base for base in store.bases()}
        return [
            *(_see_base(row) for row in bases.values()),
            *(_see_adapter(row, bases) for row in _all(store.adapters)),
            *(_see_merge(row, bases) for row in _all(store.merges)),
        ]


def show_model(deps: Deps, principal: Principal, public_id: str) -> ModelSeen:
    """The model that chat would use for this id."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        row = store.served(public_id).row
        bases = {base.id: base for base in store.bases()}
        match row:
            case BaseModel():
                return _see_base(row)
            case Adapter():
                return _see_adapter(row, bases)
            case Merge():
                return _see_merge(row, bases)


def list_bases(deps: Deps, principal: Principal) -> list[ModelSeen]:
    with deps.database.read() as session:
        return [_see_base(row) for row in TeamStore(session, principal).bases()]


def list_adapters(deps: Deps, principal: Principal, *, limit: int, after: str | None) -> Page[ModelSeen]:
    """Newest first."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        page, bases = store.adapters(limit=limit, after=after), {base.id: base for base in store.bases()}
        return Page([_see_adapter(row, bases) for row in page.items], page.has_more)


def show_adapter(deps: Deps, principal: Principal, name_or_id: str) -> ModelSeen:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        return _see_adapter(store.adapter(name_or_id), {base.id: base for base in store.bases()})


def list_merges(deps: Deps, principal: Principal, *, limit: int, after: str | None) -> Page[ModelSeen]:
    """Newest first."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        page, bases = store.merges(limit=limit, after=after), {base.id: base for base in store.bases()}
        return Page([_see_merge(row, bases) for row in page.items], page.has_more)


def show_merge(deps: Deps, principal: Principal, name_or_id: str) -> ModelSeen:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        return _see_merge(store.merge(name_or_id), {base.id: base for base in store.bases()})


def download(deps: Deps, model: ModelSeen) -> Iterator[bytes]:
    """A zip of the stored folder. Raises before the first byte where storage does not have it."""
    return zip_of(deps.storage, model.tree)


def _see_base(row: BaseModel) -> ModelSeen:
    is_local = row.source != "hub"  # a path of this machine is nobody's business
    reference = PurePath(row.reference).name if is_local else row.reference
    facts = {"description": row.description, "source": row.source, "reference": reference, "revision": row.revision}
    return ModelSeen(
        kind=ModelKind.BASE,
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        team=None,
        base=row.name,
        precision=PRECISION[Quantisation.NONE],
        quantisation=Quantisation.NONE,
        size=row.size,
        licence=row.licence,
        facts=facts | {"parameters": row.shapes.get("parameters"), "context_length": row.shapes.get("context_length")},
        tree=TreeRef(scope=row.scope, sha256=Sha256(row.tree_sha256)),
    )


def _see_adapter(row: Adapter, bases: dict[str, BaseModel]) -> ModelSeen:
    """Served on what it was trained on, whatever its base is stored as."""
    base, quantisation = bases.get(row.base_id), Quantisation(row.quantisation)
    return ModelSeen(
        kind=ModelKind.ADAPTER,
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        team=row.team_id,
        base=base.name if base else row.base_id,
        precision=PRECISION[quantisation],
        quantisation=quantisation,
        size=row.size,
        licence=base.licence if base else None,
        facts={
            "job": row.job_id,
            "is_partial": row.is_partial,
            "method": row.manifest.get("method"),
            "manifest": row.manifest,
        },
        tree=TreeRef(scope=row.scope, sha256=Sha256(row.tree_sha256)),
    )


def _see_merge(row: Merge, bases: dict[str, BaseModel]) -> ModelSeen:
    base = bases.get(row.base_id)
    return ModelSeen(
        kind=ModelKind.MERGE,
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        team=row.team_id,
        base=base.name if base else row.base_id,
        precision=f"full precision ({row.storage_dtype})",
        quantisation=Quantisation.NONE,
        size=row.size,
        licence=base.licence if base else None,
        facts={
            "job": row.job_id,
            "adapter": row.adapter_id,
            "mode": row.mode,
            "storage": row.storage_dtype,
            "report": row.report,
        },
        tree=TreeRef(scope=row.scope, sha256=Sha256(row.tree_sha256)),
    )


def _all(page_after: Callable[..., Page[RowT]]) -> Iterator[RowT]:
    after = None
    while True:
        page = page_after(limit=PAGE, after=after)
        yield from page.items
        if not page.has_more:
            return
        after = page.items[-1].id
