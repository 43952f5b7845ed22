"""How long a training goes on and how fast it learns, from counts alone. Its memory: `models.domain.memory`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.domain.training import RowsSpec, ScheduleSpec

FEWEST_STEPS = 60
MOST_EPOCHS = 10


def learning_rate(schedule: ScheduleSpec, hidden_size: int, recommended: float | None = None) -> float:
    """The given rate, or the `recommended` one of the method, or the one by width; times the multiplier.

    By width: 5e-4 x (2000 / hidden size)^0.78, the rule the Tinker cookbook uses for Llama-like models. A fixed
    2e-4 taught a 135M model none of six facts where 1e-3 taught all.
    """
    by_width = 5e-4 * (2000 / hidden_size) ** 0.78
    return (schedule.learning_rate or recommended or by_width) * schedule.learning_rate_multiplier


def steps_per_epoch(rows: int, batch_rows: int, *, batch_tokens: int | None = None, tokens: int | None = None) -> int:
    """Optimiser steps of an epoch of so many rows, which hold `tokens` tokens where `batch_tokens` is given."""
    if batch_tokens is None:
        return math.ceil(rows / batch_rows)
    assert tokens is not None
    return min(rows, max(1, math.ceil(tokens / batch_tokens)))


def planned_steps(rows: int, schedule: ScheduleSpec, tokens: int | None = None) -> int | None:
    """Optimiser steps of the whole training. The last batch of an epoch may be smaller.

    None where they go by tokens and nobody has counted the `tokens` of an epoch yet.
    """
    if schedule.steps is not None:
        return schedule.steps
    each = _steps_of_an_epoch(rows, schedule, tokens)
    return None if each is None else each * schedule.epochs


def planned_epochs(rows: int, schedule: ScheduleSpec, tokens: int | None = None) -> float | None:
    """How often every row is seen; None as for `planned_steps`."""
    if schedule.steps is None:
        return float(schedule.epochs)
    each = _steps_of_an_epoch(rows, schedule, tokens)
    return None if each is None else schedule.steps / each


def _steps_of_an_epoch(rows: int, schedule: ScheduleSpec, tokens: int | None) -> int | None:
    if schedule.batch_tokens is not None and tokens is None:
        return None
    return steps_per_epoch(rows, schedule.batch_rows, batch_tokens=schedule.batch_tokens, tokens=tokens)


def warmup_steps(steps: int, schedule: ScheduleSpec) -> int:
    """At least one: the first step of Adam is as large as the rate, whatever the gradient."""
    return max(1, round(steps * schedule.warmup_ratio))


def rate_share(step: int, steps: int, schedule: ScheduleSpec) -> float:
    """Which share of the learning rate step `step` (from 1) is taken with: never zero, falling towards zero."""
    warmup = warmup_steps(steps, schedule)
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - warmup - 1) / max(1, steps - warmup)
    match schedule.scheduler:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - done
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))


def schedule_remarks(rows: int, schedule: ScheduleSpec, tokens: int | None = None) -> tuple[str, ...]:
    """Sentences for people about a schedule that tends to teach too little or to learn by heart.

    `tokens` are those of an epoch, where they are counted.
    """
    steps, epochs = planned_steps(rows, schedule, tokens), planned_epochs(rows, schedule, tokens)
    remarks = []
    if steps is not None and steps < FEWEST_STEPS:
        remarks.append(
            f"only {steps} optimiser steps; under {FEWEST_STEPS} often teach too little. "
            f"Try {_more_steps(rows, schedule, tokens)}."
        )
    if epochs is not None and epochs > MOST_EPOCHS:
        fewer = "" if schedule.steps is None else f" ({math.floor(MOST_EPOCHS * schedule.steps / epochs)} steps)"
        remarks.append(
            f"{epochs:.3g} epochs; over {MOST_EPOCHS} tend to be learnt by heart. "
            f"Watch the validation loss, or use fewer{fewer}."
        )
    return tuple(remarks)


def _more_steps(rows: int, schedule: ScheduleSpec, tokens: int | None) -> str:
    """What makes FEWEST_STEPS of a schedule that has fewer."""
    if schedule.steps is not None:
        return f"{FEWEST_STEPS} steps"
    if schedule.batch_tokens is not None:
        assert tokens is not None
        smaller = tokens * schedule.epochs // FEWEST_STEPS
        cure = f"{smaller} tokens a step" if 16 <= smaller < schedule.batch_tokens else "more rows"
    else:
        smaller = max(1, rows * schedule.epochs // FEWEST_STEPS)
        is_smaller = smaller < schedule.batch_rows
        cure = f"{smaller} row{'s' if smaller > 1 else ''} a step" if is_smaller else "more rows"
    epochs = math.ceil(FEWEST_STEPS / (_steps_of_an_epoch(rows, schedule, tokens) or 1))
    return f"{cure} or {epochs} epochs" if epochs <= MOST_EPOCHS else cure


def held_back_rows(rows: int, fraction: float) -> int:
    """How many rows a validation share takes; at least one. Groups that stay together can make it a few fewer."""
    return max(1, round(rows * fraction)) if fraction > 0 and rows > 1 else 0


def repeats_of(weight: float, rows: int) -> tuple[int, int]:
    """How often a source of this weight shows each of its `rows` in an epoch, and how many of them once more.

    Under 1 each drawn row is shown once: the weight has then said how many are drawn (`taken_rows`).
    """
    whole = max(1, math.floor(weight))
    return whole, round((weight - whole) * rows) if weight > 1 else 0


def taken_rows(rows: int, weight: float, most_rows: int | None = None) -> int:
    """How many rows are drawn of a source: at most `most_rows`, and under weight 1 that share of them."""
    capped = rows if most_rows is None else min(rows, most_rows)
    return max(1, round(weight * capped)) if weight < 1 and capped else capped


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """By source, the first one first: rows drawn, and rows seen in an epoch. `held_back` of the drawn are neither."""

    taken: tuple[int, ...]
    trained: tuple[int, ...]
    held_back: int

    @property
    def rows(self) -> int:
        """Of one epoch."""
        return sum(self.trained)


def row_counts(usable: Sequence[int], rows: RowsSpec, fraction: float) -> RowCounts:
    """What a mix of sources of so many usable rows comes to; rows that stand together can make it a few more."""
    weights = (rows.weight, *(each.weight for each in rows.mixed))
    taken = [taken_rows(count, weight) for count, weight in zip(usable, weights, strict=True)]
    taken[0] = taken_rows(usable[0], rows.weight, rows.most_rows)
    held_back = held_back_rows(sum(taken), fraction)
    trained = []
    for count, weight in zip(taken, weights, strict=True):
        learnt = count - round(held_back * count / max(1, sum(taken)))
        whole, more = repeats_of(weight, learnt)
        trained.append(whole * learnt + more)
    return RowCounts(taken=tuple(taken), trained=tuple(trained), held_back=held_back)


def seconds(rows: int, epochs: float, seconds_per_row: float, other_seconds: float) -> float:
    """All steps at the pace of earlier runs, and what such a run spent beside them: loading, evaluating, proving."""
    return rows * epochs * seconds_per_row + other_seconds
