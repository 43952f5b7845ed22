"""What a settled job leaves behind, as rows: an adapter, a merge, a base model, a checked file, a report, a version.

Stage 1 of the data gate queues stage 2, and a new version its stage 1, in the same transaction.
"""

from dataclasses import dataclass
from typing import Any, assert_never

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.db.store.reports import NewReport, insert_report
from models.db.store.versions import NewFile, insert_version, newest_number, queue_job
from models.db.tables import Adapter, BaseModel, Dataset, DatasetVersion, Job, Merge, Team
from models.domain.errors import Conflict
from models.domain.ids import new_id
from models.domain.job import JobKind


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
    """The verdict on an uploaded file; `details` is the sentence when it cannot be used.

    Of a file none of whose rows can be used there are prepared rows, too: they say what is wrong with each.
    """

    file_id: str
    is_usable: bool
    details: str | None
    format: str | None
    rows: int | None
    usable_rows: int | None
    report: dict[str, Any] | None
    rows_sha256: str | None = None
    rows_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What an edit or a download made. `dataset` None: a new dataset named `name`.

    `after`: the number of the version it was made from, which has to be the newest still.
    """

    file: NewFile
    name: str
    dataset: str | None = None
    after: int | None = None
    may_try_again: bool = False


class Overtaken(Conflict):
    """Another edit of the same version came first; from the newest one this edit can be made again as it is."""


Artefact = NewAdapter | NewMerge | NewBase | CheckedFile | NewReport | NewVersion


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
            _settle_check(session, session.get_one(Job, job_id), artefact)
        case NewReport():
            insert_report(session, session.get_one(Job, job_id), artefact)
        case NewVersion():
            _insert_version(session, session.get_one(Job, job_id), artefact)
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


def _settle_check(session: Session, job: Job, checked: CheckedFile) -> None:
    newer = select(Job.id).where(
        Job.kind == JobKind.CHECK_DATA, Job.spec["file"].as_string() == checked.file_id, Job.id > job.id
    )
    if session.scalar(newer.limit(1)) is not None:
        return  # a person has chosen another reading meanwhile; the newer check says what becomes of that
    values = {
        "status": "processed" if checked.is_usable else "error",
        "status_details": checked.details,
        "format": checked.format,
        "rows": checked.rows,
        "usable_rows": checked.usable_rows,
        "report": checked.report,
        "rows_sha256": checked.rows_sha256,
        "rows_size": checked.rows_size,
    }
    session.execute(update(DatasetVersion).where(DatasetVersion.id == checked.file_id).values(**values))
    if checked.is_usable and checked.rows_sha256 is not None:
        queue_job(session, JobKind.GATE_DATA, {"file": checked.file_id}, job.team_id, job.created_by)


def _insert_version(session: Session, job: Job, new: NewVersion) -> None:
    if new.dataset is None:
        dataset = Dataset(id=new_id("dataset"), team_id=job.team_id, name=new.name, created_by=job.created_by)
        session.add(dataset)
        session.flush()
    else:
        # Locked, so that of two edits at once one sees what the other made.
        live = select(Dataset).where(Dataset.id == new.dataset, Dataset.deleted_at.is_(None)).with_for_update()
        found = session.scalar(live)
        if found is None:
            raise Conflict("The dataset was deleted meanwhile, so the new version has no place. Upload it again.")
        dataset = found
        # Rows are added to the newest version that is not broken, wherever it stands.
        newest = newest_number(session, dataset.id, passing_broken=new.may_try_again)
        if new.after is not None and newest != new.after:
            kind = Overtaken if new.may_try_again else Conflict
            raise kind(
                f"{dataset.name} got another version while this one was made from version {new.after}. "
                "Open the newest version and make the change there."
            )
    version = insert_version(session, dataset, new.file, job.created_by)
    queue_job(session, JobKind.CHECK_DATA, {"file": version.id}, job.team_id, job.created_by)
