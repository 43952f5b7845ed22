"""What a child says while it works: one JSON object a line in `events.jsonl`, later rows.

The child writes them, the supervisor turns them into rows, pages and the API read those. Losses are per
trained token (nats), rates are per second, `step` counts optimiser steps from 1.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from models.domain.job import Phase

LONGEST_SAMPLED = 2000  # characters of a question, an answer or a reference


def _sampled(text: str) -> str:
    """Bounded, and without the one character that PostgreSQL does not take; an untrained model writes anything."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= LONGEST_SAMPLED else text[: LONGEST_SAMPLED - 1] + "…"


SampledText = Annotated[str, BeforeValidator(_sampled)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class PhaseBegan(_Said):
    type: Literal["phase"] = "phase"
    phase: Phase


class Progressed(_Said):
    """`done` of `total`, in `unit` (steps, rows, bytes, tensors): what a progress bar needs."""

    type: Literal["progress"] = "progress"
    done: int
    total: int | None
    unit: str


class StepDone(_Said):
    """One optimiser step. `trained_tokens` is this step's count of tokens in the loss."""

    type: Literal["step"] = "step"
    step: int
    total_steps: int
    epoch: float
    loss_per_token: float
    grad_norm: float
    learning_rate: float
    trained_tokens: int
    step_seconds: float


class Evaluated(_Said):
    """Validation at `step` (0 is the base): token-weighted mean loss over `trained_tokens` tokens."""

    type: Literal["eval"] = "eval"
    step: int
    loss_per_token: float
    trained_tokens: int


class Sampled(_Said):
    """What the model said to one held-out question after `step` (0 is the base); `reference` is the row's answer.

    `question` counts from 0. `is_cut`: the answer had not come to its end.
    """

    type: Literal["sample"] = "sample"
    step: int
    question: int
    prompt: SampledText
    answer: SampledText
    reference: SampledText
    is_cut: bool = False


class CheckpointSaved(_Said):
    """`directory` is relative to the job directory and holds a verified manifest."""

    type: Literal["checkpoint"] = "checkpoint"
    step: int
    directory: str


class Remarked(_Said):
    """A sentence for the person who watches."""

    type: Literal["message"] = "message"
    level: Literal["info", "warn", "error"] = "info"
    text: str


Said = Annotated[
    PhaseBegan | Progressed | StepDone | Evaluated | Sampled | CheckpointSaved | Remarked, Field(discriminator="type")
]
SAID: TypeAdapter[Said] = TypeAdapter(Said)


def seconds_left(done: int, total: int, recent: Sequence[tuple[int, datetime]], now: datetime) -> float | None:
    """Until `total` at the pace of the `recent` (step, when it was done) of one attempt; None: nothing to go by.

    Evaluations and saves between steps count, as they will come again. A step that takes longer than the pace makes
    the answer stand still, never negative; clocks of two machines may differ.
    """
    if len(recent) < 2 or done >= total:
        return None
    (first_step, first_at), (last_step, last_at) = recent[0], recent[-1]
    seconds, steps = (last_at - first_at).total_seconds(), last_step - first_step
    if steps < 1 or seconds <= 0:
        return None
    pace = seconds / steps
    since = min(max((now - last_at).total_seconds(), 0.0), pace)
    return (total - done) * pace - since
