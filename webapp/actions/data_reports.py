"""What the data gate says of one version so far: the three stages, each with its state."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from models.db.store.reports import tokens_key
from models.db.store.team import TeamStore
from models.db.tables import BaseModel as BaseRow
from models.db.tables import DatasetReport, DatasetVersion, Job
from models.domain.access import Principal
from models.domain.data_jobs import CountTokensSpec
from models.domain.errors import NotFound
from models.domain.job import JobKind, JobState
from models.domain.reports import GateReport, IntakeReport, TokenReport
from webapp.deps import Deps

R = TypeVar("R", bound=BaseModel)


class StageState(StrEnum):
    NONE = "none"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class GateSeen:
    """`progress` from 0 to 1 while it runs and says; `sentence` why it failed; `job` the newest one."""

    state: StageState
    progress: float | None = None
    report: GateReport | None = None
    job: str | None = None
    sentence: str | None = None


@dataclass(frozen=True, kw_only=True)
class TokensSeen:
    """One count. `base_name` is the base's public name; `key` tells two ways of writing with one base apart."""

    base: str | None
    base_name: str
    key: str
    state: StageState
    progress: float | None = None
    report: TokenReport | None = None
    job: str | None = None
    sentence: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataReports:
    """`intake` is None until the version was checked, or where an older release checked it."""

    file: DatasetVersion
    intake: IntakeReport | None
    gate: GateSeen
    tokens: tuple[TokensSeen, ...]


def reports_of(deps: Deps, principal: Principal, file_id: str) -> DataReports:
    """Raises NotFound."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        file, reports = store.file(file_id), store.reports(file_id)
        gates = [row for row in reports if row.kind == "gate"]
        counts = [row for row in reports if row.kind == "tokens"]
        return DataReports(
            file=file,
            intake=_read(IntakeReport, file.report),
            gate=_gate(gates, store.data_jobs(file_id, JobKind.GATE_DATA)),
            tokens=tuple(_tokens(store, counts, store.data_jobs(file_id, JobKind.COUNT_TOKENS))),
        )


def seen_count(report: DatasetReport | None, job: Job | None, base: BaseRow, key: str) -> TokensSeen:
    """One count by its report, or by the job that makes it."""
    facts = _read(TokenReport, report.facts) if report is not None else None
    state, share, sentence = _state(job) if facts is None else (StageState.DONE, None, None)
    return TokensSeen(
        base=base.id, base_name=base.name, key=key, state=state, progress=share, report=facts,
        job=job.id if job else None, sentence=sentence,
    )  # fmt: skip


def _gate(reports: list[DatasetReport], jobs: list[Job]) -> GateSeen:
    report = _read(GateReport, reports[-1].facts) if reports else None
    job = jobs[0] if jobs else None
    if report is not None:
        return GateSeen(state=StageState.DONE, report=report, job=job.id if job else None)
    state, share, sentence = _state(job)
    return GateSeen(state=state, progress=share, job=job.id if job else None, sentence=sentence)


def _tokens(store: TeamStore, reports: list[DatasetReport], jobs: list[Job]) -> list[TokensSeen]:
    """Made ones first, newest last; then those on their way or failed, one for each way of writing."""
    bases: dict[str, BaseRow | None] = {}

    def base_of(base_id: str | None) -> BaseRow | None:
        if base_id is None:
            return None
        if base_id not in bases:
            try:
                bases[base_id] = store.base(base_id)
            except NotFound:
                bases[base_id] = None  # deleted since
        return bases[base_id]

    seen: dict[str, TokensSeen] = {}
    for row in reports:
        facts, base = _read(TokenReport, row.facts), base_of(row.base_id)
        if facts is not None:
            seen[row.key] = TokensSeen(
                base=base.id if base else None, base_name=base.name if base else facts.base_name, key=row.key,
                state=StageState.DONE, report=facts, job=row.job_id,
            )  # fmt: skip
    for job in jobs:
        spec = CountTokensSpec.model_validate(job.spec)
        base = base_of(spec.base)
        if base is None:
            continue
        key = tokens_key(base.tree_sha256, spec.train_on, spec.template_arguments)
        if key not in seen:
            seen[key] = seen_count(None, job, base, key)
    return list(seen.values())


def _state(job: Job | None) -> tuple[StageState, float | None, str | None]:
    """(state, share, sentence) of a stage that has no report yet."""
    if job is None:
        return StageState.NONE, None, None
    share = min(1.0, (job.done or 0) / job.total) if job.total else None
    match JobState(job.state):
        case JobState.QUEUED:
            return StageState.WAITING, None, None
        case JobState.RUNNING:
            return StageState.RUNNING, share, None
        case JobState.CANCELLED:
            return StageState.FAILED, None, "It was cancelled."
        case _:
            return StageState.FAILED, None, (job.error or {}).get("message") or "It ended without a report."


def _read(kind: type[R], facts: dict | None) -> R | None:
    """None for what an older release wrote in other words."""
    if facts is None:
        return None
    try:
        return kind.model_validate(facts)
    except ValidationError:
        return None
