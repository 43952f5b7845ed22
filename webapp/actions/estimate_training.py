"""What a training would take, before it is started: parameters, memory, steps, time, and who waits before it."""

import math
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

import psutil

from models.catalog.methods import METHODS
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_trainings import PastTraining
from models.db.tables import DatasetVersion, Worker
from models.domain import estimate
from models.domain.access import Principal, Verb
from models.domain.base_model import Shapes
from models.domain.errors import NotFound
from models.domain.estimate import MemoryEstimate
from models.domain.job import Lane
from models.domain.training import TrainingSpec
from webapp.deps import Deps

EARLIER_RUNS = 20
SHARE_OF_HOST = 0.8  # what a worker lets one child take where no limit is set
TRAINED_SHARE = {"text": 1.0}  # which share of a row's tokens carries loss, by format; others are half questions
USUAL_TRAINED_SHARE = 0.5


class Verdict(StrEnum):
    FITS = "fits"
    TIGHT = "tight"  # more than 85 % of what is there
    TOO_MUCH = "too_much"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a training worker has: its device, and the bytes of it that are free as far as anybody can say."""

    device: str
    free_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """None where something is not known yet: no base chosen, a file not checked, no earlier run.

    `runs_measured` are the earlier runs behind `seconds`. `workers` take trainings now; `waiting` come before this one.
    """

    trainable: int | None
    share: float | None
    memory: MemoryEstimate | None
    tokens_per_pass: int | None
    room: Room | None
    verdict: Verdict
    rows: int | None
    held_back: int | None
    steps: int | None
    learning_rate: float | None
    seconds: float | None
    runs_measured: int
    workers: int
    waiting: int
    remarks: tuple[str, ...]


def estimate_training(deps: Deps, principal: Principal, spec: TrainingSpec) -> Estimate:
    """`spec` may lack base and file (empty ids): what can be said without them is said.

    Raises Invalid for options that the base cannot follow, naming the field in `param`.
    """
    with deps.database.read() as session:
        store, system = TeamStore(session, principal), SystemStore(session)
        shapes = Shapes.model_validate(store.base(spec.base).shapes) if spec.base else None
        file = _file(store, spec.data.training_file)
        workers = [one for one in system.workers(deps.settings.lease_seconds) if one.lane == Lane.JOBS]
        past = store.past_trainings(spec.base, EARLIER_RUNS) if spec.base else []
        waiting = system.claimable(Lane.JOBS)
        file_sha256 = file.sha256 if file else None
        usable_rows, format_ = (file.usable_rows, file.format) if file else (None, None)
    room = _roomiest(deps, workers)
    rows, held_back = _rows(spec, usable_rows)
    trainable = _trainable(spec, shapes)
    memory = _memory(deps, spec, shapes, trainable, room, format_)
    alike = _alike(past, spec, file_sha256)
    return Estimate(
        trainable=trainable,
        share=trainable / shapes.parameters if shapes and trainable is not None else None,
        memory=memory,
        tokens_per_pass=_tokens(spec, room),
        room=room,
        verdict=_verdict(memory, room),
        rows=rows,
        held_back=held_back,
        steps=estimate.planned_steps(rows, spec.schedule) if rows else None,
        learning_rate=estimate.learning_rate(spec.schedule, shapes.hidden_size) if shapes else None,
        seconds=_seconds(alike, rows, spec),
        runs_measured=len(alike),
        workers=sum(worker.slots for worker in workers),
        waiting=waiting,
        remarks=estimate.schedule_remarks(rows, spec.schedule) if rows else (),
    )


def _file(store: TeamStore, file_id: str) -> DatasetVersion | None:
    try:
        return store.file(file_id, Verb.READ) if file_id else None
    except NotFound:
        return None  # deleted meanwhile: the form says so beside the field


def _rows(spec: TrainingSpec, usable_rows: int | None) -> tuple[int | None, int | None]:
    """(trained on, held back), as far as the check has counted."""
    if not usable_rows:
        return None, None
    if spec.data.validation_file:
        return usable_rows, 0
    held_back = estimate.held_back_rows(usable_rows, spec.data.validation_fraction)
    return max(1, usable_rows - held_back), held_back


def _trainable(spec: TrainingSpec, shapes: Shapes | None) -> int | None:
    if shapes is None:
        return None
    method = METHODS[spec.method.name]
    return method.cost(shapes, method.options.model_validate(spec.method.options))


# -- memory -----------------------------------------------------------------------------------------------------


def _roomiest(deps: Deps, workers: Sequence[Worker]) -> Room | None:
    """The live training worker with most known room; None while there is none."""
    rooms = [Room(device=worker.device, free_bytes=_free_bytes(deps, worker)) for worker in workers]
    return max(rooms, key=lambda room: room.free_bytes or 0, default=None)


def _free_bytes(deps: Deps, worker: Worker) -> int | None:
    """Workers do not register their memory: settings say it, or this very machine where the worker runs on it."""
    settings = deps.settings
    if worker.device != "cpu":
        return settings.device_memory_bytes
    if worker.host != socket.gethostname():
        return settings.memory_limit_bytes
    host = psutil.virtual_memory()
    limit = settings.memory_limit_bytes or int(host.total * SHARE_OF_HOST)
    return min(limit, host.available)


def _device_kind(room: Room | None) -> str:
    return "cuda" if room is not None and room.device.startswith("cuda") else "cpu"


def _tokens(spec: TrainingSpec, room: Room | None) -> int:
    return estimate.tokens_per_pass(spec.data.max_length, spec.schedule, _device_kind(room))


def _memory(
    deps: Deps, spec: TrainingSpec, shapes: Shapes | None, trainable: int | None, room: Room | None, format_: str | None
) -> MemoryEstimate | None:
    """For the device of a live worker, else for a CPU."""
    if shapes is None or trainable is None:
        return None
    kind = _device_kind(room)
    # "auto" is bf16 where the device has it, which a CPU rarely does: the larger case is counted there.
    is_bf16 = deps.settings.compute_dtype == "bf16" or (deps.settings.compute_dtype == "auto" and kind == "cuda")
    return estimate.memory(
        shapes,
        trainable=trainable,
        quantisation=spec.quantisation,
        tokens=_tokens(spec, room),
        trained_share=TRAINED_SHARE.get(format_ or "", USUAL_TRAINED_SHARE),
        compute_bytes=2 if is_bf16 else 4,
        device=kind,
    )


def _verdict(memory: MemoryEstimate | None, room: Room | None) -> Verdict:
    if memory is None or room is None or room.free_bytes is None:
        return Verdict.UNKNOWN
    share = memory.total_bytes / max(1, room.free_bytes)
    return Verdict.FITS if share <= 0.85 else Verdict.TIGHT if share <= 1 else Verdict.TOO_MUCH


# -- time -------------------------------------------------------------------------------------------------------


def _alike(past: Sequence[PastTraining], spec: TrainingSpec, file_sha256: str | None) -> list[PastTraining]:
    """The earlier runs most like this one: on the same rows and in the same precision before others."""

    def likeness(run: PastTraining) -> tuple[bool, bool]:
        data = _manifest(run).get("data", {})
        is_same_file = file_sha256 is not None and data.get("training_sha256") == file_sha256
        return is_same_file, run.job.spec.get("quantisation") == spec.quantisation

    timed = [run for run in past if _trained_rows(run)]
    best = max((likeness(run) for run in timed), default=None)
    return [run for run in timed if likeness(run) == best]


def _seconds(alike: Sequence[PastTraining], rows: int | None, spec: TrainingSpec) -> float | None:
    """At the median pace of those runs, plus what such a run spends beside its steps."""
    if not alike or not rows:
        return None
    per_row = median(run.step_seconds / _trained_rows(run) for run in alike)
    other = median(max(0.0, _whole_seconds(run) - run.step_seconds) for run in alike)
    return estimate.seconds(rows, spec.schedule.epochs, per_row, other)


def _trained_rows(run: PastTraining) -> int:
    """Rows times epochs: how often a row went through a step."""
    rows = _manifest(run).get("data", {}).get("rows") or 0
    epochs = run.job.spec.get("schedule", {}).get("epochs") or 0
    return math.floor(rows * epochs)


def _whole_seconds(run: PastTraining) -> float:
    job = run.job
    return (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0.0


def _manifest(run: PastTraining) -> dict:
    return (run.job.result or {}).get("manifest") or {}
