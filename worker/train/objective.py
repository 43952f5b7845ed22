"""What an optimiser step minimises: one interface for supervised rows and for preferences. Knows no jobs.

A step's gradient is that of the mean over the WHOLE step, however it is cut into forward passes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from peft import PeftModel

from models.domain.objectives import Objective as Name
from models.domain.objectives import ObjectiveSpec
from models.domain.progress import PreferenceFigures
from worker.data.render import Rendered
from worker.train.loss import MeanLoss, TokenLoss, batch_of, evaluate
from worker.train.pairs import Pair
from worker.train.preference import ChosenWatch, Seen, distance, dpo_losses, kto_losses

Backward = Callable[[torch.Tensor], Any]
Say = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What a step measured before it was taken. `loss` is the mean per trained token; of preferences, per row or pair.

    `tokens` are those of all its rows, `trained_tokens` those in the loss.
    """

    loss: float
    trained_tokens: int
    tokens: int
    preference: PreferenceFigures | None = None


class Objective(Protocol):
    def step(self, passes: Sequence[Sequence[Any]], backward: Backward) -> Stepped:
        """Forward and backward over all passes of one optimiser step; `backward` adds to the gradients."""
        ...

    def evaluate(self, passes: Iterable[Sequence[Any]]) -> MeanLoss:
        """Without dropout, without touching any random state."""
        ...


def objective_of(
    options: ObjectiveSpec,
    model: PeftModel,
    shortest: Rendered,
    device: torch.device,
    warn: Say,
    *,
    shares: bool = True,
) -> Objective:
    """`shortest` is a row to try the model on. `warn` is told sentences for people. `shares`: what the rows of a pass
    have in common at the beginning is computed once, where that is exact."""
    loss = TokenLoss(model, shortest, shares=shares)
    if options.name is Name.SUPERVISED:
        return Supervised(model, loss, device)
    return Preferences(options, model, loss, device, warn)


class Supervised:
    """The likelihood of trained tokens. Passes hold rendered rows."""

    def __init__(self, model: PeftModel, loss: TokenLoss, device: torch.device) -> None:
        self._model, self._device = model, device
        self._loss = loss

    def step(self, passes: Sequence[Sequence[Rendered]], backward: Backward) -> Stepped:
        rows = [row for one in passes for row in one]
        trained_tokens = sum(row.trained_tokens for row in rows)
        nats = torch.zeros((), device=self._device)
        for one in passes:
            loss = self._loss(batch_of(one).to(self._device))
            backward(loss / trained_tokens)
            nats += loss.detach()
        return Stepped(
            loss=float(nats) / trained_tokens, trained_tokens=trained_tokens, tokens=sum(len(row.ids) for row in rows)
        )

    def evaluate(self, passes: Iterable[Sequence[Rendered]]) -> MeanLoss:
        return evaluate(self._model, self._loss, passes, self._device)


class Preferences:
    """DPO or KTO. Passes hold pairs whose reference is measured already."""

    def __init__(
        self, options: ObjectiveSpec, model: PeftModel, loss: TokenLoss, device: torch.device, warn: Say
    ) -> None:
        self._options, self._model, self._device, self._warn = options, model, device, warn
        self._loss = loss
        self._watch = ChosenWatch()

    def step(self, passes: Sequence[Sequence[Pair]], backward: Backward) -> Stepped:
        pairs = [pair for one in passes for pair in one]
        seen = Seen(self._options, self._distance(passes))
        for one in passes:
            losses = self._losses(one, seen)
            backward(losses.sum() / len(pairs))
        self._say(self._watch.after_step(seen))
        rows = [row for pair in pairs for row in self._trained(pair)]
        return Stepped(
            loss=sum(seen.losses) / len(pairs), trained_tokens=sum(row.trained_tokens for row in rows),
            tokens=sum(len(row.ids) for row in rows), preference=seen.figures(),
        )  # fmt: skip

    def evaluate(self, passes: Iterable[Sequence[Pair]]) -> MeanLoss:
        passes = list(passes)
        was_training = self._model.training
        self._model.eval()
        seen = Seen(self._options, self._distance(passes))
        with torch.no_grad():
            for one in passes:
                self._losses(one, seen)
        self._model.train(was_training)
        self._say(self._watch.after_evaluation(seen))
        count = len(seen.losses)
        return MeanLoss(
            loss_per_token=sum(seen.losses) / count, row_nats=tuple(seen.losses), row_tokens=(1,) * count,
            trained_tokens=sum(row.trained_tokens for one in passes for pair in one for row in self._trained(pair)),
            preference=seen.figures(),
        )  # fmt: skip

    def measure(self, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
        """Log-probabilities (nats) of both sequences of each pair under the model as it is now; 0 where one lacks."""
        rows = [row for pair in pairs for row in (pair.first, pair.second) if row is not None]
        found = iter(self._measured(rows))
        return [(next(found), next(found) if pair.second is not None else 0.0) for pair in pairs]

    def _losses(self, pairs: Sequence[Pair], seen: Seen) -> torch.Tensor:
        """(N,), with gradients where they are wanted."""
        if self._options.name is Name.DPO:
            rows = [row for pair in pairs for row in (pair.first, pair.second) if row is not None]
            policy = self._log_probabilities(rows).view(len(pairs), 2)
            reference = torch.tensor([pair.reference for pair in pairs], device=self._device)
            losses, _ = dpo_losses(policy, reference, self._options.beta, self._options.label_smoothing)
        else:
            policy = self._log_probabilities([pair.first for pair in pairs])
            reference = torch.tensor([pair.reference[0] for pair in pairs], device=self._device)
            good = torch.tensor([pair.is_good for pair in pairs], device=self._device)
            losses = kto_losses(policy, reference, good, seen.kl, self._options)
            policy, reference = policy[:, None], reference[:, None]
        seen.add(losses.detach(), policy.detach(), reference, [pair.is_good for pair in pairs])
        return losses

    def _distance(self, passes: Sequence[Sequence[Pair]]) -> float:
        """KTO's, of all passes together; 0 for DPO, which needs none."""
        if self._options.name is Name.DPO:
            return 0.0
        ratios: list[float] = []
        for one in passes:
            beside = [pair for pair in one if pair.second is not None]
            found = self._measured([pair.second for pair in beside if pair.second is not None])
            ratios += [now - pair.reference[1] for now, pair in zip(found, beside, strict=True)]
        return distance(ratios)

    def _measured(self, rows: Sequence[Rendered]) -> list[float]:
        """Without dropout and gradients."""
        if not rows:
            return []
        was_training = self._model.training
        self._model.eval()
        with torch.no_grad():
            found = self._log_probabilities(rows).tolist()
        self._model.train(was_training)
        return found

    def _log_probabilities(self, rows: Sequence[Rendered]) -> torch.Tensor:
        """Summed over each row's trained tokens, float32, (N,)."""
        return -self._loss.by_row(batch_of(rows).to(self._device))

    def _trained(self, pair: Pair) -> list[Rendered]:
        """The rows that carry loss."""
        return [pair.first, pair.second] if self._options.name is Name.DPO and pair.second else [pair.first]

    def _say(self, text: str | None) -> None:
        if text is not None:
            self._warn(text)
