"""A job as people look at it: a run, with the names of what it works on and of what came of it. Facts only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

Curve = list[tuple[int, float]]  # (step, value) by step: plain pairs, as a long run has tens of thousands


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The `count` values of a series from step `first` to step `last`: their extremes and their sum."""

    first: int
    last: int
    low: float
    high: float
    total: float
    count: int

    @property
    def mean(self) -> float:
        return self.total / self.count


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One job with the names of what it works on and of what it made. `error` is its sentence."""

    id: str
    is_shared: bool
    created_by: str | None
    owner: str | None  # an e-mail address, of a person of this team only
    kind: str
    lane: str
    state: str
    phase: str | None
    held_reason: str | None
    cancel_wish: str | None
    fence: int
    attempts: int
    spec: dict[str, Any]
    error: dict[str, Any] | None
    done: int | None
    total: int | None
    unit: str | None
    trained_tokens: int | None
    resumes: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    base_id: str | None
    base_name: str | None
    dataset_id: str | None
    dataset_name: str | None
    adapter_id: str | None  # made by a training, or what a merge is made of
    adapter_name: str | None
    merge_id: str | None  # made by a merge
    merge_name: str | None
    sweep_id: str | None  # the group it was started with
    sweep_name: str | None


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """`spark` are (step, training loss); `place` 1 is the next that a free worker takes."""

    row: RunRow
    spark: Curve
    seconds_left: float | None
    seconds: float | None  # since its start, or until its end
    place: int | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event of a job: a move, a phase, a checkpoint, or a remark."""

    id: int
    at: datetime
    level: str
    kind: str
    message: str
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AnswerSeen:
    """What the model said to a held-out question after `step`; `reference` is the row's own answer."""

    id: int
    at: datetime
    step: int
    question: int
    prompt: str
    answer: str
    reference: str
    is_cut: bool


@dataclass(frozen=True, kw_only=True)
class Made:
    """A merge that came of a run's adapter, and the run that made it."""

    id: str
    name: str
    run: str


@dataclass(frozen=True, kw_only=True)
class RunCompared:
    """A run beside others: its losses on the rows it learns from, and on those held out."""

    run: RunSeen
    train: list[Bucket]
    held_out: Curve
