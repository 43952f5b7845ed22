"""Learning from comparisons and judgements: DPO and KTO, as losses over answers' log-probabilities. No rows, no jobs.

Direct Preference Optimization, arXiv:2305.18290 eq. 7, label smoothing as in its authors' "conservative DPO";
Kahneman-Tversky Optimization, arXiv:2402.01306 eq. 7 and 8. All is in nats, summed over an answer's tokens.
"""

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import logsigmoid

from models.domain.objectives import Objective, ObjectiveSpec
from models.domain.progress import PreferenceFigures

LARGEST_FALL = 0.2  # of the chosen answers' log-probability, before it is said
STEPS_LOOKED_AT = 10


def dpo_losses(
    policy: torch.Tensor, reference: torch.Tensor, beta: float, label_smoothing: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and margins of pairs, (N,) each. `policy`, `reference`: (N, 2), the better answer first.

    margin = beta x ((policy - reference) of the better - that of the worse); with label smoothing e the loss is
    -(1 - e) log sigmoid(margin) - e log sigmoid(-margin).
    """
    ratios = policy - reference
    margins = beta * (ratios[:, 0] - ratios[:, 1])
    return -(1 - label_smoothing) * logsigmoid(margins) - label_smoothing * logsigmoid(-margins), margins


def kto_losses(
    policy: torch.Tensor, reference: torch.Tensor, is_good: torch.Tensor, kl: float, options: ObjectiveSpec
) -> torch.Tensor:
    """Losses of judged answers, (N,): weight x (1 - sigmoid(beta (r - kl))) of a good one, with r = policy - reference,
    and weight x (1 - sigmoid(beta (kl - r))) of a bad one. `kl` is no part of the gradient.
    """
    above = options.beta * (policy - reference - kl)
    good = options.desirable_weight * torch.sigmoid(-above)
    bad = options.undesirable_weight * torch.sigmoid(above)
    return torch.where(is_good, good, bad)


def distance(log_ratios: Sequence[float]) -> float:
    """KTO's estimate of KL(policy || reference) from mismatched answers: their mean log-ratio, never below 0."""
    return max(0.0, math.fsum(log_ratios) / len(log_ratios)) if log_ratios else 0.0


class Seen:
    """What a step or an evaluation has seen so far: losses, and the figures made of them."""

    def __init__(self, options: ObjectiveSpec, kl: float) -> None:
        self._options, self.kl = options, kl
        self.losses: list[float] = []
        self.policy: list[list[float]] = []  # of chosen and rejected answers
        self.reference: list[list[float]] = []
        self.is_good: list[bool] = []

    def add(self, losses: torch.Tensor, policy: torch.Tensor, reference: torch.Tensor, is_good: Sequence[bool]) -> None:
        """`policy` and `reference`: (N, 2) for pairs, (N, 1) for judged answers."""
        self.losses += losses.tolist()
        self.policy += policy.tolist()
        self.reference += reference.tolist()
        self.is_good += is_good

    @property
    def chosen(self) -> tuple[list[float], list[float]]:
        """Log-probabilities of the better (good) answers: under the model, under the reference."""
        rows = [row for row in range(len(self.policy)) if self.is_good[row]]
        return [self.policy[row][0] for row in rows], [self.reference[row][0] for row in rows]

    @property
    def rejected(self) -> tuple[list[float], list[float]]:
        if self._options.name is Objective.DPO:
            return [row[1] for row in self.policy], [row[1] for row in self.reference]
        rows = [row for row in range(len(self.policy)) if not self.is_good[row]]
        return [self.policy[row][0] for row in rows], [self.reference[row][0] for row in rows]

    def figures(self) -> PreferenceFigures:
        beta, (chosen, before), (rejected, rejected_before) = self._options.beta, self.chosen, self.rejected
        gained, lost = _differences(chosen, before), _differences(rejected, rejected_before)
        margin = beta * (_mean(gained) - _mean(lost)) if gained and lost else None
        if self._options.name is Objective.DPO:
            right, kl = [one > other for one, other in zip(gained, lost, strict=True)], _mean(gained + lost)
        else:
            right, kl = [one > self.kl for one in gained] + [one < self.kl for one in lost], self.kl
        return PreferenceFigures(
            chosen=_mean(chosen) if chosen else None, rejected=_mean(rejected) if rejected else None, margin=margin,
            accuracy=sum(right) / len(right), kl=kl,
        )  # fmt: skip


class ChosenWatch:
    """Says once when the better answers themselves become unlikely: preference training may push both answers down."""

    def __init__(self) -> None:
        self._steps: list[tuple[float, float]] = []
        self._has_said = False

    def after_step(self, seen: Seen) -> str | None:
        """Looks at the last steps together; single batches differ."""
        self._steps = [*self._steps, _sums(seen)][-STEPS_LOOKED_AT:]
        if len(self._steps) < STEPS_LOOKED_AT:
            return None
        now, before = (math.fsum(each) for each in zip(*self._steps, strict=True))
        return self._fallen(now, before)

    def after_evaluation(self, seen: Seen) -> str | None:
        return self._fallen(*_sums(seen))

    def _fallen(self, now: float, before: float) -> str | None:
        if self._has_said or not before < 0 or now >= before * (1 + LARGEST_FALL):
            return None
        self._has_said = True
        return (
            f"the log-probability of the chosen answers has fallen by {now / before - 1:.0%}: the model unlearns them "
            "together with the rejected ones. Lower the learning rate, raise beta, or train on the chosen ones first."
        )


def _sums(seen: Seen) -> tuple[float, float]:
    now, before = seen.chosen
    return math.fsum(now), math.fsum(before)


def _differences(now: Sequence[float], before: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(now, before, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
