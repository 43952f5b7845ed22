"""What a settled job leaves behind, as rows: an adapter, a merge, a base model, a checked file."""

from dataclasses import dataclass
from typing import Any, assert_never

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.db.tables import Adapter, BaseModel, DatasetVersion, Job, Merge, Team
from models.domain.errors import Conflict
from models.domain.ids import new_id


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A directory in storage."""

    scope: str
    tree_sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class NewAdapter:
    stored: Stored
    base_id: str
    quantisation: str
    suffix: str | None
    manifest: dict[str, Any]
    is_partial: bool = False


@dataclass(frozen=True, kw_only=True)
class NewMerge:
    stored: Stored
    adapter_id: str
    mode: str
    storage_dtype: str
    report: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NewBase:
    stored: Stored
    name: str
    description: str
    source: str
    reference: str
    revision: str | None
    licence: str | None
    facts: dict[str, Any]
    shapes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """The verdict on an uploaded file; `details` is the sentence when it cannot be used."""

    file_id: str
    is_usable: bool
    details: str | None
    format: str | None
    rows: int | None
    usable_rows: int | None
    report: dict[str, Any] | None
    rows_sha256: str | None = None
    rows_size: int | None = None


Artefact = NewAdapter | NewMerge | NewBase | CheckedFile


def insert_artefact(session: Session, job_id: str, artefact: Artefact) -> None:
    """Insert or update the rows of one artefact, in the caller's transaction."""
    match artefact:
        case NewAdapter():
            _insert_adapter(session, session.get_one(Job, job_id), artefact)
        case NewMerge():
            _insert_merge(session, session.get_one(Job, job_id), artefact)
        case NewBase():
            _insert_base(session, job_id, artefact)
        case CheckedFile():
            values = {
                "status": "processed" if artefact.is_usable else "error",
                "status_details": artefact.details,
                "format": artefact.format,
                "rows": artefact.rows,
                "usable_rows": artefact.usable_rows,
                "report": artefact.report,
                "rows_sha256": artefact.rows_sha256,
                "rows_size": artefact.rows_size,
            }
            session.execute(update(DatasetVersion).where(DatasetVersion.id == artefact.file_id).values(**values))
        case _:
            assert_never(artefact)


def adapter_id_of(job_id: str) -> str:
    """An adapter shares its job's random part, so a rerun of the same job can make only one."""
    return "adapter-" + job_id.split("-", 1)[1]


def merge_id_of(job_id: str) -> str:
    return "merge-" + job_id.split("-", 1)[1]


def _insert_adapter(session: Session, job: Job, new: NewAdapter) -> None:
    assert job.team_id is not None  # a training always belongs to a team
    base = session.get_one(BaseModel, new.base_id)
    team = session.get_one(Team, job.team_id)
    short = job.id[-8:]
    session.add(
        Adapter(
            id=adapter_id_of(job.id),
            team_id=job.team_id,
            name=f"ft:{base.name}:{team.name}:{new.suffix or ''}:{short}",
            job_id=job.id,
            base_id=base.id,
            quantisation=new.quantisation,
            scope=new.stored.scope,
            tree_sha256=new.stored.tree_sha256,
            size=new.stored.size,
            is_partial=new.is_partial,
            manifest=new.manifest,
            created_by=job.created_by,
        )
    )
    session.flush()


def _insert_merge(session: Session, job: Job, new: NewMerge) -> None:
    assert job.team_id is not None
    adapter = session.get_one(Adapter, new.adapter_id)
    session.add(
        Merge(
            id=merge_id_of(job.id),
            team_id=job.team_id,
            name=f"merge:{adapter.name.removeprefix('ft:')}:{job.id[-8:]}",
            job_id=job.id,
            adapter_id=adapter.id,
            base_id=adapter.base_id,
            mode=new.mode,
            storage_dtype=new.storage_dtype,
            scope=new.stored.scope,
            tree_sha256=new.stored.tree_sha256,
            size=new.stored.size,
            report=new.report,
            created_by=job.created_by,
        )
    )
    session.flush()


def _insert_base(session: Session, job_id: str, new: NewBase) -> None:
    taken = session.scalar(select(BaseModel.id).where(BaseModel.name == new.name))
    if taken is not None:
        raise Conflict(f'A base model named "{new.name}" exists already. Add this one under another name.')
    session.add(
        BaseModel(
            id=new_id("base"),
            name=new.name,
            description=new.description,
            source=new.source,
            reference=new.reference,
            revision=new.revision,
            licence=new.licence,
            scope=new.stored.scope,
            tree_sha256=new.stored.tree_sha256,
            size=new.stored.size,
            facts=new.facts,
            shapes=new.shapes,
            made_by_job=job_id,
        )
    )
    session.flush()
