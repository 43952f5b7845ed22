"""A sweep as people look at it: its runs with their losses, and which differences may be chance. Facts only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.domain.job import JobState
from models.domain.run import RunCompared
from models.domain.sweeps import SEEDS, without_seeds


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a run stands: how far the mean of its values, over all seeds, is behind the best of these means.

    `is_inside`: that is no more than two runs of equal settings differ by chance.
    """

    mean: float
    behind: float
    is_inside: bool


def standings(losses: Sequence[tuple[str, float | None]]) -> tuple[float | None, list[Standing | None]]:
    """The seed spread, and one standing for each (what its values are without seeds, its loss). Lower is better.

    The spread is the largest distance between two runs that differ by seed alone; None where there is no such pair.
    """
    alike: dict[str, list[float]] = {}
    for values, loss in losses:
        if loss is not None and math.isfinite(loss):
            alike.setdefault(values, []).append(loss)
    apart = [max(found) - min(found) for found in alike.values() if len(found) > 1]
    spread = max(apart, default=None)
    means = {values: sum(found) / len(found) for values, found in alike.items()}
    best = min(means.values(), default=0.0)

    def stands(values: str, loss: float | None) -> Standing | None:
        if loss is None or values not in means:
            return None
        behind = means[values] - best
        return Standing(
            mean=means[values], behind=behind, is_inside=spread is not None and 0 < behind <= spread
        )  # fmt: skip

    return spread, [stands(values, loss) for values, loss in losses]


@dataclass(frozen=True, kw_only=True)
class SweptRun:
    """`train_loss` is the end of the smoothed curve. `standing` goes by held-out losses where the sweep has them."""

    number: int
    values: dict[str, Any]
    seen: RunCompared
    train_loss: float | None
    held_out: float | None
    tokens_per_second: float | None
    standing: Standing | None


@dataclass(frozen=True, kw_only=True)
class SweptSetting:
    """Runs of equal values whatever their seeds: their mean loss, and how far they lie apart (None: there is one).

    `values` have no seeds; `spec` is that of one of the runs.
    """

    values: dict[str, Any]
    spec: dict[str, Any]
    runs: int
    mean: float
    spread: float | None
    behind: float
    is_inside: bool


@dataclass(frozen=True, kw_only=True)
class SweepSeen:
    """`runs` by number. `spread` is how far runs that differ by seed alone lie apart; None without such runs."""

    id: str
    name: str
    created_by: str | None
    created_at: datetime
    knobs: list[dict[str, Any]]
    runs: tuple[SweptRun, ...]
    spread: float | None
    by_held_out: bool
    may_change: bool

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are in each state that there is."""
        states = [run.seen.run.row.state for run in self.runs]
        return {state.value: states.count(state) for state in JobState if state in states}

    @property
    def settings(self) -> list[SweptSetting]:
        """The best mean first; without runs that have no loss to compare."""
        alike: dict[str, list[SweptRun]] = {}
        for run in self.runs:
            if run.standing is not None:
                alike.setdefault(without_seeds(run.values), []).append(run)
        return sorted((self._setting(runs) for runs in alike.values()), key=lambda one: one.mean)

    def _setting(self, runs: list[SweptRun]) -> SweptSetting:
        losses = [loss for run in runs if (loss := run.held_out if self.by_held_out else run.train_loss) is not None]
        first = runs[0]
        assert first.standing is not None
        return SweptSetting(
            values={path: value for path, value in first.values.items() if path not in SEEDS},
            spec=first.seen.run.row.spec, runs=len(runs), mean=first.standing.mean,
            spread=max(losses) - min(losses) if len(losses) > 1 else None,
            behind=first.standing.behind, is_inside=first.standing.is_inside,
        )  # fmt: skip

    @property
    def is_moving(self) -> bool:
        return any(run.seen.run.row.finished_at is None for run in self.runs)
