"""How long a training takes, by earlier ones of the same base on this installation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from models.db.store.team_trainings import PastTraining
from models.domain import estimate
from models.domain.training import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`seconds` of the whole run; None without an earlier one. `runs` is how many of those it goes by."""

    seconds: float | None
    runs: int
    is_by_tokens: bool = False


def pace_of(
    past: Sequence[PastTraining], spec: TrainingSpec, *, file_sha256: str | None, rows: int | None, tokens: int | None
) -> Pace:
    """At the median pace of the runs most alike, plus what such a run spends beside its steps.

    By tokens where they are counted for this one (`tokens` of an epoch) and for the earlier runs, else by `rows`.
    """
    timed = _alike([run for run in past if _shown(run, "tokens")], spec, file_sha256) if tokens else []
    what, count = ("tokens", tokens) if timed else ("rows", rows)
    timed = timed or _alike([run for run in past if _shown(run, "rows")], spec, file_sha256)
    if not timed or not count:
        return Pace(seconds=None, runs=len(timed))
    each = median(run.step_seconds / _shown(run, what) for run in timed)
    other = median(max(0.0, _whole_seconds(run) - run.step_seconds) for run in timed)
    epochs = estimate.planned_epochs(rows or 0, spec.schedule, tokens)
    if epochs is None:
        return Pace(seconds=None, runs=len(timed))
    seconds = estimate.seconds(count, epochs, each, other)
    return Pace(seconds=seconds, runs=len(timed), is_by_tokens=what == "tokens")


def _alike(timed: Sequence[PastTraining], spec: TrainingSpec, file_sha256: str | None) -> list[PastTraining]:
    """The earlier runs most like this one: on the same rows and in the same precision before others."""

    def likeness(run: PastTraining) -> tuple[bool, bool]:
        is_same_file = file_sha256 is not None and _data(run).get("training_sha256") == file_sha256
        return is_same_file, run.job.spec.get("quantisation") == spec.quantisation

    best = max((likeness(run) for run in timed), default=None)
    return [run for run in timed if likeness(run) == best]


def _shown(run: PastTraining, what: str) -> int:
    """Rows or tokens times epochs: how many went through its steps."""
    epochs = _data(run).get("epochs") or run.job.spec.get("schedule", {}).get("epochs") or 0
    return math.floor((_data(run).get(what) or 0) * epochs)


def _whole_seconds(run: PastTraining) -> float:
    job = run.job
    return (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0.0


def _data(run: PastTraining) -> dict:
    return ((run.job.result or {}).get("manifest") or {}).get("data", {})
