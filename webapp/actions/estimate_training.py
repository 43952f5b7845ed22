"""What a training would take, before it is started: parameters, memory, steps, time, and who waits before it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import psutil

from models.catalog.method_facts import check_choice
from models.catalog.methods import METHODS
from models.catalog.rates import recommended_of
from models.catalog.virtual_tokens import tokens_in_front
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import DatasetVersion, Worker
from models.domain import estimate
from models.domain.access import Principal, Verb
from models.domain.base_model import Shapes
from models.domain.errors import NotFound
from models.domain.estimate import MemoryEstimate, RowCounts
from models.domain.job import Lane
from models.domain.objectives import SEQUENCES_OF, hold_only_texts
from models.domain.reports import GateReport
from models.domain.token_figures import TokenFigures, token_figures
from models.domain.training import TrainingSpec
from webapp.actions.data_reports import TokensSeen
from webapp.actions.rate_of_rows import kinds_of
from webapp.actions.run_pace import pace_of
from webapp.actions.token_counts import counts_of, files_of
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
    """None where something is not known yet: no base chosen, a file not checked, no earlier run, tokens not counted.

    `rows` are those of one epoch, `counts` how each source comes to them. `counted` is the count of tokens of each
    source, the first one first, empty without a base or a file; `tokens` are its figures once all of them are there.
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
    counts: RowCounts | None
    counted: tuple[TokensSeen, ...]
    tokens: TokenFigures | None
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
        base = store.base(spec.base) if spec.base else None
        files = _files(store, spec)
        counted = counts_of(store, files, base, spec.data) if base and all(_is_usable(file) for file in files) else []
        usable = [_usable_rows(store, file, spec) for file in files]
        workers = [one for one in system.workers(deps.settings.lease_seconds) if one.lane == Lane.JOBS]
        past = store.past_trainings(spec.base, EARLIER_RUNS) if spec.base else []
        waiting = system.claimable(Lane.JOBS)
        shapes = Shapes.model_validate(base.shapes) if base else None
        file_sha256 = files[0].sha256 if files else None
        formats = [file.format or "" for file in files]
        are_texts = hold_only_texts([kinds_of(file) for file in files])
    room = _roomiest(deps, workers)
    counts = _counts(spec, usable)
    tokens = _figures(spec, counts, counted, formats)
    each = SEQUENCES_OF[spec.objective.name]
    rows = tokens.sequences // each if tokens else counts.rows if counts else None
    trainable = _trainable(spec, shapes)
    memory = _memory(deps, spec, shapes, trainable, room, formats[0] if formats else "", tokens)
    epoch_tokens = tokens.tokens if tokens else None
    pace = pace_of(past, spec, file_sha256=file_sha256, rows=rows, tokens=epoch_tokens)
    return Estimate(
        trainable=trainable,
        share=trainable / shapes.parameters if shapes and trainable is not None else None,
        memory=memory,
        tokens_per_pass=_tokens(spec, room, tokens),
        room=room,
        verdict=_verdict(memory, room),
        rows=rows,
        held_back=counts.held_back if counts else None,
        counts=counts,
        counted=tuple(counted),
        tokens=tokens,
        steps=estimate.planned_steps(rows, spec.schedule, epoch_tokens) if rows else None,
        learning_rate=_rate(spec, shapes, are_texts=are_texts) if shapes else None,
        seconds=pace.seconds,
        runs_measured=pace.runs,
        workers=sum(worker.slots for worker in workers),
        waiting=waiting,
        remarks=estimate.schedule_remarks(rows, spec.schedule, epoch_tokens) if rows else (),
    )


def _rate(spec: TrainingSpec, shapes: Shapes, *, are_texts: bool) -> float:
    recommended = recommended_of(spec, shapes.hidden_size, are_texts=are_texts).value
    return estimate.learning_rate(spec.schedule, shapes.hidden_size, recommended)


def _file(store: TeamStore, file_id: str) -> DatasetVersion | None:
    try:
        return store.file(file_id, Verb.READ) if file_id else None
    except NotFound:
        return None  # deleted meanwhile: the form says so beside the field


def _files(store: TeamStore, spec: TrainingSpec) -> list[DatasetVersion]:
    """All sources of the mix, or none where one of them is not chosen or not here."""
    files = [_file(store, file_id) for file_id in files_of(spec.data)]
    return [file for file in files if file is not None] if all(files) else []


def _is_usable(file: DatasetVersion) -> bool:
    return file.status == "processed"


def _usable_rows(store: TeamStore, file: DatasetVersion, spec: TrainingSpec) -> int | None:
    """As far as the check has counted; less the duplicates that the gate has found, where those are left out."""
    if not file.usable_rows or not spec.data.rows.drop_duplicates:
        return file.usable_rows
    gate = next((report for report in store.reports(file.id) if report.kind == "gate"), None)
    return file.usable_rows - (GateReport.model_validate(gate.facts).duplicates if gate else 0)


def _counts(spec: TrainingSpec, usable: Sequence[int | None]) -> RowCounts | None:
    """What is trained on and held back, as far as the checks have counted."""
    known = [rows for rows in usable if rows]
    if not usable or len(known) < len(usable):
        return None
    return estimate.row_counts(known, spec.data.rows, 0 if spec.data.validation_file else spec.data.validation_fraction)


def _figures(
    spec: TrainingSpec, counts: RowCounts | None, counted: Sequence[TokensSeen], formats: Sequence[str]
) -> TokenFigures | None:
    reports = [one.report for one in counted if one.report is not None]
    if counts is None or not counted or len(reports) < len(counted):
        return None
    return token_figures(
        reports, counts.trained, max_length=spec.data.max_length, over_long=spec.data.over_long,
        are_texts=[one == "text" for one in formats],
    )  # fmt: skip


def _trainable(spec: TrainingSpec, shapes: Shapes | None) -> int | None:
    if shapes is None:
        return None
    check_choice(spec, shapes)
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


def _tokens(spec: TrainingSpec, room: Room | None, tokens: TokenFigures | None) -> int:
    """By the longest row that is trained on where it is known, else by the longest allowed."""
    longest = tokens.longest if tokens and tokens.longest else spec.data.max_length
    each = SEQUENCES_OF[spec.objective.name]
    whole = longest + tokens_in_front(spec.method)
    return estimate.tokens_per_pass(each * whole, spec.schedule, _device_kind(room))


def _memory(
    deps: Deps, spec: TrainingSpec, shapes: Shapes | None, trainable: int | None, room: Room | None, format_: str,
    tokens: TokenFigures | None,
) -> MemoryEstimate | None:  # fmt: skip
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
        tokens=_tokens(spec, room, tokens),
        trained_share=tokens.longest_share if tokens else TRAINED_SHARE.get(format_, USUAL_TRAINED_SHARE),
        compute_bytes=2 if is_bf16 else 4,
        device=kind,
    )


def _verdict(memory: MemoryEstimate | None, room: Room | None) -> Verdict:
    if memory is None or room is None or room.free_bytes is None:
        return Verdict.UNKNOWN
    share = memory.total_bytes / max(1, room.free_bytes)
    return Verdict.FITS if share <= 0.85 else Verdict.TIGHT if share <= 1 else Verdict.TOO_MUCH
