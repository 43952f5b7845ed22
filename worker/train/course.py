"""What the losses of a training say: rising, standing still, or no longer improving. Knows numbers, no model.

Both classes are part of the story that travels with every checkpoint, so a resumed training decides as the first
attempt would have.
"""

import math
from collections.abc import Sequence
from statistics import fmean, variance

from pydantic import BaseModel, ConfigDict

WINDOW = 16  # optimiser steps
FIRST = 4
LEAST_RISE = 0.2  # nats a token; a smaller one is no reason to stop anybody
STANDARD_ERRORS = 3.0  # of both windows' means, so that noisy batches do not warn
PATIENCE = 3  # evaluations
FEWEST_ROWS = 30  # under that the standard error says little
LEAST_FALL = 0.02  # of the first loss


class LossCourse(BaseModel):
    """Training losses per token: of the `first` steps, the `recent` ones, and the window with the `lowest` mean."""

    model_config = ConfigDict(extra="forbid")

    first: list[float] = []
    recent: list[float] = []
    lowest: list[float] = []
    is_told: bool = False

    def add(self, step: int, loss: float) -> str | None:
        """A sentence, once, where the last window lies clearly above the lowest one before."""
        if len(self.first) < FIRST:
            self.first.append(loss)
            self.lowest = list(self.first)
        self.recent = [*self.recent, loss][-WINDOW:]
        if len(self.recent) < WINDOW:
            return None
        rise = fmean(self.recent) - fmean(self.lowest)
        if rise <= 0:
            self.lowest = list(self.recent)
        if self.is_told or rise <= max(LEAST_RISE, STANDARD_ERRORS * _error(self.recent, self.lowest)):
            return None
        self.is_told = True
        return (
            f"the loss is rising: {fmean(self.recent):.2f} a token over steps {step - WINDOW + 1} to {step}, and "
            f"{fmean(self.lowest):.2f} at its lowest before. The training may be diverging: try a third of the "
            "learning rate, a longer warm-up or more rows a step."
        )

    def stands_still(self) -> str | None:
        """A sentence where a whole training hardly lowered its loss."""
        if len(self.recent) < WINDOW or fmean(self.first) - fmean(self.recent) >= LEAST_FALL * fmean(self.first):
            return None
        return (
            f"the loss hardly fell: {fmean(self.first):.3f} a token in the first {FIRST} steps, "
            f"{fmean(self.recent):.3f} in the last {WINDOW}. Try three times the learning rate, or more steps; or the "
            "base answers these rows already."
        )


class Improvement(BaseModel):
    """Early stopping: `reference` are the rows' nats at the last real improvement, `waited` evaluations ago."""

    model_config = ConfigDict(extra="forbid")

    reference: list[float] = []
    waited: int = 0
    stopped_at: int | None = None

    def has_ended(self, nats: Sequence[float], tokens: Sequence[int]) -> bool:
        """Take one evaluation in; True after PATIENCE of them without an improvement beyond its standard error."""
        if self.reference:
            change, error = difference(self.reference, nats, tokens)
            self.waited = 0 if change < -error else self.waited + 1
        if not self.waited:
            self.reference = list(nats)
        return self.waited >= PATIENCE


def difference(before: Sequence[float], now: Sequence[float], tokens: Sequence[int]) -> tuple[float, float]:
    """Change of the loss per token between two evaluations of the same rows, and its standard error.

    `before` and `now` are each row's summed nats, `tokens` its trained tokens. Rows are what was drawn, so the error
    is that of a ratio of two sums over rows. Source: Cochran, Sampling Techniques (1977), eq. 6.4, without the finite
    population's correction.
    """
    rows, all_tokens = len(tokens), sum(tokens)
    changes = [after - earlier for earlier, after in zip(before, now, strict=True)]
    mean = math.fsum(changes) / all_tokens
    squares = math.fsum((change - mean * count) ** 2 for change, count in zip(changes, tokens, strict=True))
    return mean, math.sqrt(squares * rows / max(1, rows - 1)) / all_tokens


def compared(before: float, after: float, step: int) -> str | None:
    """A sentence where the validation loss after `step` is no success beside the base's own, `before`."""
    if after > before:
        return (
            f"after step {step} the validation rows have a loss of {after:.3f} a token, where the base has "
            f"{before:.3f}: this adapter answers them worse than the base does. Try a third of the learning rate, "
            "fewer epochs, or look at the rows."
        )
    if before - after < LEAST_FALL * before:
        return (
            f"the loss on the validation rows hardly fell: {before:.3f} a token before, {after:.3f} after. Try three "
            "times the learning rate, or more steps; or the base answers these rows already."
        )
    return None


def _error(one: Sequence[float], other: Sequence[float]) -> float:
    """Standard error of the difference of two means."""
    return math.sqrt(sum(variance(losses) / len(losses) if len(losses) > 1 else 0.0 for losses in (one, other)))
