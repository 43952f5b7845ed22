"""Inputs of the jobs around datasets: checks, gates, counts, edits and downloads. A part of `worker.staging`."""

from datetime import UTC, datetime
from typing import Any, Literal, assert_never

from models.db.tables import DatasetVersion, Job
from models.domain.data_jobs import CountTokensSpec, EditDataSpec, FetchDataSpec
from models.domain.errors import Code, JobFailed
from models.domain.job import JobKind
from worker.fetching import bring_dataset
from worker.jobdir import JobDir
from worker.laying import Shelf, hub_token, lay_base_without_weights, lay_version

DataKind = Literal[
    JobKind.CHECK_DATA, JobKind.GATE_DATA, JobKind.COUNT_TOKENS, JobKind.EDIT_DATA, JobKind.FETCH_DATA
]  # fmt: skip


def stage_data(shelf: Shelf, job: Job, kind: DataKind, jobdir: JobDir) -> dict[str, Any]:
    """Fill in/data, in/base or in/source, and return the facts of the order. Raises as `worker.staging.stage`."""
    folder = jobdir.inputs / "data"
    match kind:
        case JobKind.CHECK_DATA:
            lay_version(shelf, _file(shelf, job.spec["file"]), folder, with_files=True)
            return {}
        case JobKind.GATE_DATA:
            lay_version(shelf, _file(shelf, job.spec["file"]), folder)
            return {}
        case JobKind.COUNT_TOKENS:
            spec = CountTokensSpec.model_validate(job.spec)
            base = shelf.lease.read(lambda store: store.base(spec.base))
            lay_version(shelf, _file(shelf, spec.file), folder)
            lay_base_without_weights(shelf, base, jobdir.inputs / "base")
            return {"base_name": base.name, "base_tree_sha256": base.tree_sha256}
        case JobKind.EDIT_DATA:
            return _stage_edit(shelf, job, jobdir)
        case JobKind.FETCH_DATA:
            wish = FetchDataSpec.model_validate(job.spec)
            token = lambda: hub_token(shelf, job.team_id)  # noqa: E731
            return bring_dataset(wish, jobdir, shelf.settings, token, shelf.watch)
        case _:
            assert_never(kind)


def _stage_edit(shelf: Shelf, job: Job, jobdir: JobDir) -> dict[str, Any]:
    """Rows that are only added go to the newest version there is now: two people who add at once lose nothing."""
    spec = EditDataSpec.model_validate(job.spec)
    file = _file(shelf, spec.file)
    if not spec.edits:
        file = shelf.lease.read(lambda store: store.newest_file(spec.file))
    if file.deleted_at is not None:
        raise JobFailed(f"{file.filename} was deleted meanwhile. Choose another version.", code=Code.NOT_FOUND)
    lay_version(shelf, file, jobdir.inputs / "data", with_files=True)
    added_by = shelf.lease.read(lambda store: store.email_of(job.created_by))
    return {
        "format": file.format, "version": file.id, "number": file.number, "dataset": file.dataset_id,
        "filename": file.filename, "added_by": added_by, "added_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _file(shelf: Shelf, file_id: str) -> DatasetVersion:
    return shelf.lease.read(lambda store: store.file(file_id))
