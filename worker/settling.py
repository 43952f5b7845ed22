"""What a job's out/ becomes: stored bytes, their rows, and the artefact of its kind. Decides no state.

Bytes are stored before any row names them, so a row never points at nothing. Knows storage and files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from models.db.store.artefacts import Artefact, CheckedFile, NewAdapter, NewBase, NewMerge, Stored
from models.db.tables import Blob, Job
from models.domain.base_model import AddBaseSpec
from models.domain.chat import TreeRef
from models.domain.errors import AppError
from models.domain.ids import TeamId
from models.domain.job import JobKind
from models.domain.merging import MergeSpec
from models.domain.training import TrainingSpec
from models.infra.storage import SHARED, Listing, Storage, team_scope
from worker.data.source import ROWS
from worker.jobdir import JobDir, Outcome


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
        case JobKind.GATE_DATA | JobKind.COUNT_TOKENS | JobKind.EDIT_DATA | JobKind.FETCH_DATA:
            raise NotImplementedError(job.kind)
        case JobKind.ADD_BASE:
            return _new_base(storage, job, jobdir, outcome)
        case kind:
            assert_never(kind)


def refused_file(job: Job, error: AppError) -> CheckedFile | None:
    """The verdict of a check that found the file unusable; None for other kinds of jobs and for our own faults."""
    if JobKind(job.kind) is not JobKind.CHECK_DATA or not str(error.code).startswith("invalid_"):
        return None
    facts = error.facts
    return CheckedFile(
        file_id=job.spec["file"], is_usable=False, details=error.message[:2000], format=facts.get("format"),
        rows=facts.get("rows"), usable_rows=facts.get("usable_rows"), report=facts or None,
    )  # fmt: skip


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
