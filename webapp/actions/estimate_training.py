"""What a training would take, before it is started: parameters, memory, steps, time, and who waits before it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from models.catalog.method_facts import check_choice
from models.catalog.rates import recommended_of
from models.catalog.training_memory import (
    USUAL_TRAINED_SHARE,
    Cure,
    Machine,
    adapters_of,
    cures,
    pass_tokens,
    training_memory,
)
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import DatasetVersion, Worker
from models.domain import estimate
from models.domain.access import Principal, Verb
from models.domain.base_model import Shapes
from models.domain.errors import NotFound
from models.domain.estimate import RowCounts
from models.domain.job import Lane
from models.domain.memory import FITS_UP_TO, Adapters, MemoryEstimate, Verdict, verdict_of
from models.domain.objectives import SEQUENCES_OF, hold_only_texts
from models.domain.reports import GateReport
from models.domain.token_figures import TokenFigures, token_figures
from models.domain.training import TrainingSpec
from models.infra.host import memory_limit_bytes
from webapp.actions.data_reports import TokensSeen
from webapp.actions.rate_of_rows import kinds_of
from webapp.actions.run_pace import pace_of
from webapp.actions.token_counts import counts_of, files_of
from webapp.deps import Deps

EARLIER_RUNS = 20
TRAINED_SHARE = {"text": 1.0}  # which share of a row's tokens carries loss, by format; others are half questions


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
    `cures` are single changes that make it fit where it is tight or too much. `runs_measured` are the earlier runs
    behind `seconds`. `workers` take trainings now; `waiting` come before this one.
    """

    trainable: int | None
    share: float | None
    memory: MemoryEstimate | None
    tokens_per_pass: int | None
    room: Room | None
    verdict: Verdict
    cures: tuple[Cure, ...]
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
    adapters, machine = _adapters(spec, shapes), _machine(deps, room)
    share = TRAINED_SHARE.get(formats[0] if formats else "", USUAL_TRAINED_SHARE)
    memory = training_memory(spec, shapes, machine, tokens, trained_share=share) if shapes else None
    found = _verdict(memory, room)
    epoch_tokens = tokens.tokens if tokens else None
    pace = pace_of(past, spec, file_sha256=file_sha256, rows=rows, tokens=epoch_tokens)
    return Estimate(
        trainable=adapters.trainable if adapters else None,
        share=adapters.trainable / shapes.parameters if shapes and adapters else None,
        memory=memory,
        tokens_per_pass=pass_tokens(spec, machine, tokens),
        room=room,
        verdict=found,
        cures=_cures(spec, shapes, machine, tokens, room, share) if found in (Verdict.TIGHT, Verdict.TOO_MUCH) else (),
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


def _adapters(spec: TrainingSpec, shapes: Shapes | None) -> Adapters | None:
    if shapes is None:
        return None
    check_choice(spec, shapes)
    return adapters_of(spec, shapes)


# -- memory -----------------------------------------------------------------------------------------------------


def _roomiest(deps: Deps, workers: Sequence[Worker]) -> Room | None:
    """The live training worker with most known room; None while there is none."""
    rooms = [Room(device=worker.device, free_bytes=_free_bytes(deps, worker)) for worker in workers]
    return max(rooms, key=lambda room: room.free_bytes or 0, default=None)


def _free_bytes(deps: Deps, worker: Worker) -> int | None:
    """Workers do not register their memory: settings say it, or this very machine where the worker runs on it.

    What a child is allowed is what its supervisor goes by: the setting, or its slot's part of this machine.
    """
    settings = deps.settings
    if worker.device != "cpu":
        return settings.device_memory_bytes
    if worker.host != socket.gethostname():
        return settings.memory_limit_bytes
    limit = settings.memory_limit_bytes or memory_limit_bytes() // worker.slots
    return min(limit, psutil.virtual_memory().available)


def _machine(deps: Deps, room: Room | None) -> Machine:
    """The device of a live worker, else a CPU."""
    kind = "cuda" if room is not None and room.device.startswith("cuda") else "cpu"
    # "auto" is bf16 where the device has it, which a CPU rarely does: the larger case is counted there.
    is_bf16 = deps.settings.compute_dtype == "bf16" or (deps.settings.compute_dtype == "auto" and kind == "cuda")
    return Machine(kind=kind, compute_bytes=2 if is_bf16 else 4)


def _verdict(memory: MemoryEstimate | None, room: Room | None) -> Verdict:
    if memory is None or room is None or room.free_bytes is None:
        return Verdict.UNKNOWN
    return verdict_of(memory.total_bytes, room.free_bytes)


def _cures(
    spec: TrainingSpec, shapes: Shapes | None, machine: Machine, tokens: TokenFigures | None, room: Room | None,
    share: float,
) -> tuple[Cure, ...]:  # fmt: skip
    if shapes is None or room is None or room.free_bytes is None:
        return ()
    return tuple(cures(spec, shapes, machine, tokens, FITS_UP_TO * room.free_bytes, trained_share=share))
