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


class PreferenceFigures(BaseModel):
    """What DPO or KTO did to the answers of a step or an evaluation. Log-probabilities: nats, summed over an answer.

    chosen, rejected: means under the model in training, of the better and the worse answers (KTO: good and bad ones).
    margin: beta x (model - reference) of the chosen, less that of the rejected, in the mean.
    accuracy: the share of pairs with a margin above 0 (KTO: of rows on their right side of the distance `kl`).
    kl: KTO's estimate of the distance from the reference (arXiv:2402.01306, eq. 8); DPO: the mean of model - reference
        over all answers, which may be negative. None: there was no such row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen: float | None = None
    rejected: float | None = None
    margin: float | None = None
    accuracy: float | None = None
    kl: float | None = None


class StepDone(_Said):
    """One optimiser step. `trained_tokens` is this step's count of tokens in the loss, `tokens` that of all its rows.

    `peak_memory_bytes` is the most that this attempt's process has taken so far: resident on a CPU, of the device on
    a GPU. Both are None from a program that did not say them yet.
    """

    type: Literal["step"] = "step"
    step: int
    total_steps: int
    epoch: float
    loss_per_token: float
    grad_norm: float
    learning_rate: float
    trained_tokens: int
    step_seconds: float
    tokens: int | None = None
    peak_memory_bytes: int | None = None
    preference: PreferenceFigures | None = None


class Evaluated(_Said):
    """Validation at `step` (0 is the base): token-weighted mean loss over `trained_tokens` tokens.

    Of a preference objective it is the mean over pairs (KTO: rows), as in its steps.
    """

    type: Literal["eval"] = "eval"
    step: int
    loss_per_token: float
    trained_tokens: int
    preference: PreferenceFigures | None = None


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

    Evaluations and saves between steps count, as they will come again; not so what lies between step 1 and 2, where
    the base itself is measured (ADR 0011). A step that takes longer than the pace makes
    the answer stand still, never negative; clocks of two machines may differ.
    """
    recent = [one for one in recent if one[0] > 1]
    if len(recent) < 2 or done >= total:
        return None
    (first_step, first_at), (last_step, last_at) = recent[0], recent[-1]
    seconds, steps = (last_at - first_at).total_seconds(), last_step - first_step
    if steps < 1 or seconds <= 0:
        return None
    pace = seconds / steps
    since = min(max((now - last_at).total_seconds(), 0.0), pace)
    return (total - done) * pace - since
