"""What a training will take, from shapes and counts alone. Knows no device and reads no file."""

import math

from models.domain.training import ScheduleSpec

FEWEST_STEPS = 60
MOST_EPOCHS = 10


def learning_rate(schedule: ScheduleSpec, hidden_size: int) -> float:
    """The given rate, or the one by width, times the multiplier.

    By width: 5e-4 x (2000 / hidden size)^0.78, the rule the Tinker cookbook uses for Llama-like models. A fixed
    2e-4 taught a 135M model none of six facts where 1e-3 taught all.
    """
    by_width = 5e-4 * (2000 / hidden_size) ** 0.78
    return (schedule.learning_rate or by_width) * schedule.learning_rate_multiplier


def steps_per_epoch(rows: int, batch_rows: int) -> int:
    return math.ceil(rows / batch_rows)


def planned_steps(rows: int, schedule: ScheduleSpec) -> int:
    """Optimiser steps of the whole training. The last batch of an epoch may be smaller."""
    return steps_per_epoch(rows, schedule.batch_rows) * schedule.epochs


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


def schedule_remarks(rows: int, schedule: ScheduleSpec) -> tuple[str, ...]:
    """Sentences for people about a schedule that tends to teach too little or to learn by heart."""
    steps = planned_steps(rows, schedule)
    remarks = []
    if steps < FEWEST_STEPS:
        batch_rows = max(1, rows * schedule.epochs // FEWEST_STEPS)
        epochs = math.ceil(FEWEST_STEPS / steps_per_epoch(rows, schedule.batch_rows))
        cure = f"{batch_rows} rows a step" if batch_rows < schedule.batch_rows else "more rows"
        if epochs <= MOST_EPOCHS:
            cure += f" or {epochs} epochs"
        remarks.append(f"only {steps} optimiser steps; under {FEWEST_STEPS} often teach too little. Try {cure}.")
    if schedule.epochs > MOST_EPOCHS:
        remarks.append(
            f"{schedule.epochs} epochs; over {MOST_EPOCHS} tend to be learnt by heart. "
            "Watch the validation loss, or use fewer."
        )
    return tuple(remarks)
