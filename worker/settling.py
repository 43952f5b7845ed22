"""What a job's out/ becomes: stored bytes, their rows, and the artefact of its kind. Decides no state.

The slot that settles a job looks for the next one: a job that a settled one brings about needs no bell.

Bytes are stored before any row names them, so a row never points at nothing. Knows storage and files.
"""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, assert_never

from models.catalog.containers import ENDINGS
from models.db.store.artefacts import Artefact, CheckedFile, NewAdapter, NewBase, NewMerge, NewVersion, Stored
from models.db.store.reports import NewReport
from models.db.store.versions import NewFile
from models.db.tables import Blob, Job
from models.domain.base_model import AddBaseSpec
from models.domain.chat import TreeRef
from models.domain.data_jobs import EditDataSpec, FetchDataSpec
from models.domain.errors import AppError
from models.domain.ids import TeamId
from models.domain.job import JobKind
from models.domain.merging import MergeSpec
from models.domain.reading import Part, Reading, list_of, name_of
from models.domain.reports import GateReport, TokenReport
from models.domain.training import TrainingSpec
from models.infra.storage import SHARED, Listing, Storage, team_scope
from worker.data.source import GATE, ROWS
from worker.jobdir import JobDir, Outcome

COUNTS = "counts.parquet"
DATA = "data.jsonl"
FILES = "files"


@dataclass(frozen=True, kw_only=True)
class Made:
    """The artefact to write with the job's last state, and the blobs it refers to."""

    artefact: Artefact | None
    blobs: tuple[Blob, ...] = ()


def scope_of(job: Job) -> str:
    """Where this job's bytes belong: its team, or everybody."""
    return team_scope(TeamId(job.team_id)) if job.team_id else SHARED


def store_result(storage: Storage, job: Job, jobdir: JobDir, outcome: Outcome, *, is_partial: bool = False) -> Made:
    """Store out/ and describe it. `is_partial`: kept from a run that was cancelled.

    Raises AppError where the child said it succeeded and left nothing: succeeded means the artefact exists.
    """
    match JobKind(job.kind):
        case JobKind.TOY:
            return Made(artefact=None)
        case JobKind.CHECK_DATA:
            return _checked(storage, job, jobdir, outcome)
        case JobKind.TRAIN:
            spec = TrainingSpec.model_validate(job.spec)
            stored, blobs = _store(storage, job, jobdir)
            adapter = NewAdapter(
                stored=stored, base_id=spec.base, quantisation=spec.quantisation, suffix=spec.suffix,
                manifest=_json(jobdir.out / "manifest.json"), is_partial=is_partial,
            )  # fmt: skip
            return Made(artefact=adapter, blobs=blobs)
        case JobKind.MERGE:
            wish = MergeSpec.model_validate(job.spec)
            stored, blobs = _store(storage, job, jobdir)
            merge = NewMerge(
                stored=stored, adapter_id=wish.adapter, mode=wish.mode, storage_dtype=wish.storage,
                report=outcome.result["report"],
            )  # fmt: skip
            return Made(artefact=merge, blobs=blobs)
        case JobKind.GATE_DATA:
            return _reported(storage, job, jobdir, "gate", GateReport.model_validate(outcome.result), GATE)
        case JobKind.COUNT_TOKENS:
            return _reported(storage, job, jobdir, "tokens", TokenReport.model_validate(outcome.result), COUNTS)
        case JobKind.EDIT_DATA:
            return _edited(storage, job, jobdir, outcome)
        case JobKind.FETCH_DATA:
            return _fetched(storage, job, jobdir)
        case JobKind.ADD_BASE:
            return _new_base(storage, job, jobdir, outcome)
        case kind:
            assert_never(kind)


def refused_file(storage: Storage, job: Job, jobdir: JobDir, error: AppError) -> Made:
    """The verdict of a check that found the file unusable; nothing for other kinds of jobs and for our own faults.

    With the rows, where all of them were read: they say what is wrong with each.
    """
    if JobKind(job.kind) is not JobKind.CHECK_DATA or not str(error.code).startswith("invalid_"):
        return Made(artefact=None)
    facts, path = error.facts, jobdir.out / ROWS
    rows = _store_file(storage, job, path) if facts.get("rows") and path.is_file() else None
    checked = CheckedFile(
        file_id=job.spec["file"], is_usable=False, details=error.message[:2000], format=facts.get("format"),
        rows=facts.get("rows"), usable_rows=facts.get("usable_rows"), report=facts or None,
        rows_sha256=rows.sha256 if rows else None, rows_size=rows.size if rows else None,
    )  # fmt: skip
    return Made(artefact=checked, blobs=(rows,) if rows else ())


def blobs_of(ref: TreeRef, listing: Listing) -> tuple[Blob, ...]:
    """A row for the tree and one for each of its files."""
    sizes = {file.sha256: file.size for file in listing.files}
    files = (Blob(scope=ref.scope, sha256=sha256, size=size, is_tree=False) for sha256, size in sizes.items())
    return (*files, Blob(scope=ref.scope, sha256=ref.sha256, size=listing.total_bytes, is_tree=True))


def _new_base(storage: Storage, job: Job, jobdir: JobDir, outcome: Outcome) -> Made:
    spec = AddBaseSpec.model_validate(job.spec)
    facts, shapes = _json(jobdir.out / "facts.json"), _json(jobdir.out / "shapes.json")
    stored, blobs = _store(storage, job, jobdir)
    base = NewBase(
        stored=stored, name=spec.name, description=spec.description or outcome.result.get("title") or "",
        source=spec.source, reference=spec.reference, revision=facts.get("revision"), licence=facts.get("licence"),
        facts=facts, shapes=shapes,
    )  # fmt: skip
    return Made(artefact=base, blobs=blobs)


def _checked(storage: Storage, job: Job, jobdir: JobDir, outcome: Outcome) -> Made:
    report = outcome.result
    rows = _store_file(storage, job, jobdir.out / ROWS)
    checked = CheckedFile(
        file_id=job.spec["file"], is_usable=True, details=None, format=report["format"], rows=report["rows"],
        usable_rows=report["usable_rows"], report=report, rows_sha256=rows.sha256, rows_size=rows.size,
    )  # fmt: skip
    return Made(artefact=checked, blobs=(rows,))


def _reported(
    storage: Storage, job: Job, jobdir: JobDir, kind: str, report: GateReport | TokenReport, name: str
) -> Made:
    rows = _store_file(storage, job, jobdir.out / name)
    facts = report.model_dump(mode="json")
    new = NewReport(kind=kind, facts=facts, scope=rows.scope, sha256=rows.sha256, size=rows.size)
    return Made(artefact=new, blobs=(rows,))


def _edited(storage: Storage, job: Job, jobdir: JobDir, outcome: Outcome) -> Made:
    spec, facts = EditDataSpec.model_validate(job.spec), jobdir.order().facts
    data = _store_file(storage, job, jobdir.out / DATA)
    file = NewFile(
        filename=_as_lines(facts["filename"]), scope=data.scope, sha256=data.sha256, size=data.size,
        reading=Reading.model_validate(outcome.result["reading"]), note=spec.note or None, made_from=facts["version"],
        format=outcome.result["format"],
    )  # fmt: skip
    made = NewVersion(
        file=file, name=file.filename, dataset=facts["dataset"], after=facts["number"], may_try_again=not spec.edits
    )  # fmt: skip
    return Made(artefact=made, blobs=(data,))


def _as_lines(filename: str) -> str:
    """The name of what was rewritten as JSON lines: rows.csv.gz becomes rows.jsonl."""
    ending = max((one for one in ENDINGS if filename.lower().endswith(one)), key=len, default="")
    return (filename[: -len(ending)] if ending else filename)[:200] + ".jsonl"


def _fetched(storage: Storage, job: Job, jobdir: JobDir) -> Made:
    spec, facts = FetchDataSpec.model_validate(job.spec), jobdir.order().facts
    blobs = [_store_file(storage, job, jobdir.out / FILES / str(place)) for place in range(len(facts["files"]))]
    parts = [
        Part(filename=PurePosixPath(name).name[:200], sha256=blob.sha256, size=blob.size)
        for name, blob in zip(facts["files"], blobs, strict=True)
    ]
    source = {"source": spec.source, "reference": spec.reference, "split": spec.split}
    source |= {"revision": facts["revision"], "licence": facts["licence"]}
    if len(parts) == 1:
        own, several = blobs[0], {}
    else:
        ref = storage.put_bytes(scope_of(job), list_of(parts))
        own = Blob(scope=ref.scope, sha256=ref.sha256, size=ref.size, is_tree=False)
        several = {"parts": tuple(parts), "list_size": ref.size}
    file = NewFile(
        filename=name_of(parts), scope=own.scope, sha256=own.sha256, size=sum(part.size for part in parts),
        source=source, note=f"{spec.reference}, split {spec.split}"[:300], **several,
    )  # fmt: skip
    made = NewVersion(file=file, name=spec.name, dataset=spec.dataset)
    return Made(artefact=made)


def _store_file(storage: Storage, job: Job, path: Path) -> Blob:
    """One file of out/, in the job's scope."""
    with path.open("rb") as file:
        ref = storage.put_stream(scope_of(job), file, path.stat().st_size)
    return Blob(scope=ref.scope, sha256=ref.sha256, size=ref.size, is_tree=False)


def _store(storage: Storage, job: Job, jobdir: JobDir) -> tuple[Stored, tuple[Blob, ...]]:
    if not any(jobdir.out.iterdir()):
        raise AppError("the job said it succeeded but left nothing. Start it again, and tell an administrator.")
    ref, listing = storage.put_tree(scope_of(job), jobdir.out)
    stored = Stored(scope=ref.scope, tree_sha256=ref.sha256, size=listing.total_bytes)
    return stored, blobs_of(ref, listing)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
