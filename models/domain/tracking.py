"""What a tracker of the team learns of a run: its settings, its figures step by step, and how it ended.

Pure facts, as JSON between the worker and the process that speaks to the tracker. Nobody's token is part of them.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.domain.job import JobState

STEPS_AT_ONCE = 500
LONGEST_PROBLEM = 300  # characters

NAMES = {
    "train_loss": "train/loss", "eval_loss": "eval/loss", "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm", "trained_tokens": "train/trained_tokens", "tokens": "train/tokens",
    "step_seconds": "train/step_seconds", "peak_memory_bytes": "system/peak_memory_bytes",
    "chosen_logp": "train/chosen_logp", "rejected_logp": "train/rejected_logp", "margin": "train/margin",
    "accuracy": "train/accuracy", "kl": "train/kl", "eval_chosen_logp": "eval/chosen_logp",
    "eval_rejected_logp": "eval/rejected_logp", "eval_margin": "eval/margin", "eval_accuracy": "eval/accuracy",
    "eval_kl": "eval/kl",
}  # fmt: skip
SPEED = "train/tokens_per_second"


class EndState(StrEnum):
    """How a run ended, in words that every tracker has a counterpart for."""

    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Point(BaseModel):
    """All figures of one optimiser step (0 is the base), by the names of NAMES; `at` is when it was done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    at: datetime
    figures: dict[str, float]


class RunFacts(BaseModel):
    """What a tracker is told before the first step. `job` is its id there, too, so that a restart finds it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    name: str
    link: str
    began_at: datetime
    settings: dict[str, str | int | float | bool | None]


class RunEnd(BaseModel):
    """The last that a tracker is told. `result` holds numbers and short texts, `error` the sentence of a failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: EndState
    result: dict[str, str | int | float | bool | None]
    error: str | None = None


def figures(values: Mapping[str, float]) -> dict[str, float]:
    """Stored series of one step under the names trackers show, with the speed they give: tokens of all rows a second.

    What is not finite is left out: several trackers refuse the whole step for it.
    """
    found = {NAMES[series]: value for series, value in values.items() if series in NAMES and math.isfinite(value)}
    tokens, seconds = values.get("tokens", values.get("trained_tokens")), values.get("step_seconds")
    if tokens is not None and seconds:
        found[SPEED] = tokens / seconds
    return found


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """Nested settings as one level, `method.options.rank`; a list is its JSON-like text, at most 500 characters."""
    found: dict[str, str | int | float | bool | None] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found |= flat(item, f"{prefix}{name}.")
        elif item is None or isinstance(item, bool | int | float):
            found[f"{prefix}{name}"] = item
        else:
            found[f"{prefix}{name}"] = str(item)[:500]
    return found


def end_state(state: JobState) -> EndState:
    """Of a job that has ended."""
    ends = {JobState.SUCCEEDED: EndState.FINISHED, JobState.FAILED: EndState.FAILED}
    return ends.get(state, EndState.CANCELLED)
