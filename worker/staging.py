"""Lays the inputs of one job into its directory, verified, and finds the checkpoint it goes on from.

Asks the store through the lease it is given; spawns nothing and settles nothing. Every kind of job says here which
files its child finds in in/ and which facts stand in its order.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

from models.catalog.methods import METHODS
from models.db.store.system import SystemStore
from models.db.tables import BaseModel, DatasetVersion, Job
from models.domain.base_model import AddBaseSpec, Shapes
from models.domain.chat import TreeRef
from models.domain.disk import merge_bytes, no_room, training_bytes
from models.domain.errors import AppError, Code, JobFailed, NotFound
from models.domain.ids import Sha256
from models.domain.job import JobKind
from models.domain.merging import MergeSpec
from models.domain.progress import Remarked
from models.domain.training import TrainingSpec
from models.infra.settings import Settings
from worker.cache import link_tree
from worker.jobdir import CheckpointManifest, JobDir, verify_checkpoint
from worker.laying import Shelf, hub_token, lay_version
from worker.packed import lay_packed, may_keep
from worker.settling import scope_of
from worker.sources import bring_source
from worker.staging_data import stage_data


def stage(shelf: Shelf, job: Job, jobdir: JobDir) -> dict[str, Any]:
    """Fill in/ for this kind of job and return the facts of its order.

    Raises JobFailed, Invalid or NotFound in words where the job cannot run at all.
    """
    jobdir.inputs.mkdir(parents=True, exist_ok=True)
    match JobKind(job.kind):
        case JobKind.TOY:
            return {}
        case (
            JobKind.CHECK_DATA | JobKind.GATE_DATA | JobKind.COUNT_TOKENS | JobKind.EDIT_DATA | JobKind.FETCH_DATA
        ) as kind:
            return stage_data(shelf, job, kind, jobdir)
        case JobKind.ADD_BASE:
            token = lambda: hub_token(shelf, job.team_id)  # noqa: E731
            return bring_source(AddBaseSpec.model_validate(job.spec), jobdir, shelf.settings, token, shelf.watch)
        case JobKind.TRAIN:
            return _stage_training(shelf, job, TrainingSpec.model_validate(job.spec), jobdir)
        case JobKind.MERGE:
            return _stage_merge(shelf, MergeSpec.model_validate(job.spec), jobdir)
        case kind:
            assert_never(kind)


def stage_checkpoint(shelf: Shelf, job: Job, jobdir: JobDir) -> tuple[str, CheckpointManifest] | None:
    """Lay the newest checkpoint that verifies into checkpoints/; None: from the beginning.

    Uploaded ones and those an earlier attempt left on this disk count alike. A damaged one is passed over, and said.
    """
    jobdir.checkpoints.mkdir(parents=True, exist_ok=True)
    for step, bring in _candidates(shelf, job, jobdir):
        shelf.watch()
        directory = jobdir.checkpoints / f"step-{step:08d}"
        try:
            bring(directory)
            manifest = verify_checkpoint(directory)
        except AppError as error:
            shutil.rmtree(directory, ignore_errors=True)
            jobdir.say(Remarked(level="warn", text=f"the checkpoint at step {step} is passed over: {error.message}"))
            continue
        jobdir.say(Remarked(text=f"going on from the checkpoint at step {manifest.step}"))
        return f"checkpoints/{directory.name}", manifest
    return None


def _candidates(shelf: Shelf, job: Job, jobdir: JobDir) -> list[tuple[int, Callable[[Path], object]]]:
    """(step, how to bring it), newest first; at equal steps what lies on this disk goes first."""
    found: list[tuple[int, int, Callable[[Path], object]]] = []
    for row in shelf.lease.read(lambda store: store.checkpoints(job.id)):
        ref = TreeRef(scope=row.scope, sha256=Sha256(row.tree_sha256))
        found.append((row.step, 0, lambda to, ref=ref: shelf.storage.fetch_tree(ref, to)))
    for path in jobdir.root.parent.glob("*/checkpoints/step-*"):
        if path.parent != jobdir.checkpoints:
            found.append((int(path.name.removeprefix("step-")), 1, path.replace))
    found.sort(key=lambda each: each[:2], reverse=True)
    return [(step, bring) for step, _, bring in found]


def _stage_training(shelf: Shelf, job: Job, spec: TrainingSpec, jobdir: JobDir) -> dict[str, Any]:
    base = shelf.lease.read(lambda store: store.base(spec.base))
    training = shelf.lease.read(lambda store: store.file(spec.data.training_file))
    _check_usable(training, Code.INVALID_TRAINING_FILE)
    _check_room(shelf.settings, training_bytes(_trainable(spec, base)), "Two checkpoints and the adapter")
    _lay_base(shelf, base, jobdir)
    lay_version(shelf, training, jobdir.inputs / "train")
    for place, each in enumerate(spec.data.rows.mixed, start=1):
        mixed = shelf.lease.read(lambda store, each=each: store.file(each.file))
        _check_usable(mixed, Code.INVALID_TRAINING_FILE)
        lay_version(shelf, mixed, jobdir.inputs / f"mixed-{place}")
    if spec.start_adapter is not None:
        _lay_start(shelf, spec.start_adapter, jobdir)
    lay_packed(shelf.cache, scope_of(job), spec.quantisation, base.tree_sha256, jobdir)
    facts = {
        "base_name": base.name, "base_tree_sha256": base.tree_sha256,
        "keeps_packed": may_keep(shelf.settings, Shapes.model_validate(base.shapes).parameters),
    }  # fmt: skip
    if spec.data.validation_file is None:
        return facts
    wanted = spec.data.validation_file
    validation = shelf.lease.read(lambda store: store.file(wanted))
    _check_usable(validation, Code.INVALID_VALIDATION_FILE)
    lay_version(shelf, validation, jobdir.inputs / "validation")
    return facts


def _lay_start(shelf: Shelf, adapter_id: str, jobdir: JobDir) -> None:
    """The adapter to go on from. Raises JobFailed where it was deleted since the training was asked for."""
    adapter = shelf.lease.read(lambda store: store.adapter(adapter_id))
    if adapter.deleted_at is not None:
        raise JobFailed(
            f"the adapter {adapter.name}, from which this training continues, was deleted meanwhile. Choose another.",
            code=Code.NOT_FOUND,
        )
    ref = TreeRef(scope=adapter.scope, sha256=Sha256(adapter.tree_sha256))
    with shelf.cache.using_tree(ref, shelf.watch) as path:
        link_tree(path, jobdir.inputs / "adapter")


def _stage_merge(shelf: Shelf, spec: MergeSpec, jobdir: JobDir) -> dict[str, Any]:
    adapter = shelf.lease.read(lambda store: store.adapter(spec.adapter))
    base = shelf.lease.read(lambda store: store.base(adapter.base_id))
    needed_bytes = merge_bytes(Shapes.model_validate(base.shapes).parameters, spec.storage)
    _check_room(shelf.settings, needed_bytes, "The merged weights")
    _lay_base(shelf, base, jobdir)
    ref = TreeRef(scope=adapter.scope, sha256=Sha256(adapter.tree_sha256))
    with shelf.cache.using_tree(ref, shelf.watch) as path:
        link_tree(path, jobdir.inputs / "adapter")
    facts: dict[str, Any] = {"base_name": base.name, "base_tree_sha256": base.tree_sha256}
    heldout = shelf.lease.read(lambda store: _heldout(store, adapter.job_id))
    if heldout is not None and heldout.format is not None:
        lay_version(shelf, heldout, jobdir.inputs / "heldout")
    return facts


def _heldout(store: SystemStore, training_job: str) -> DatasetVersion | None:
    """The rows a merge is listened to on: validation rows, else training rows, else none. Deleted ones are not used."""
    data = TrainingSpec.model_validate(store.job(training_job).spec).data
    for wanted in (data.validation_file, data.training_file):
        try:
            file = store.file(wanted) if wanted is not None else None
        except NotFound:
            continue
        if file is not None and file.deleted_at is None:
            return file
    return None


def _check_usable(file: DatasetVersion, code: Code) -> None:
    """A file nobody has checked yet is staged: the child reads every row and refuses in the same words."""
    if file.status == "error":
        raise JobFailed(
            f"{file.filename} cannot be used: {file.status_details} Correct the file and upload it again.", code=code
        )


def _check_room(settings: Settings, needed_bytes: int, what: str) -> None:
    """Before anything is copied. Raises JobFailed(disk_full): the job is held, and goes on by itself."""
    free_bytes = shutil.disk_usage(settings.jobs_dir).free
    if (sentence := no_room(free_bytes, needed_bytes, what)) is not None:
        raise JobFailed(sentence, code=Code.DISK_FULL, needed_bytes=needed_bytes)


def _trainable(spec: TrainingSpec, base: BaseModel) -> int:
    method = METHODS[spec.method.name]
    return method.cost(Shapes.model_validate(base.shapes), method.options.model_validate(spec.method.options))


def _lay_base(shelf: Shelf, base: BaseModel, jobdir: JobDir) -> None:
    ref = TreeRef(scope=base.scope, sha256=Sha256(base.tree_sha256))
    with shelf.cache.using_tree(ref, shelf.watch) as path:
        link_tree(path, jobdir.inputs / "base")
