"""Which trained weights learn at a rate of their own, by name, and the optimiser's groups that come of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

_KEPT_AS = "tuneroom_rates"


@dataclass(frozen=True, kw_only=True)
class Rates:
    """`times` the schedule's rate, by the parameter's name; others learn at 1. `is_decaying` False: no weight decay."""

    times: Mapping[str, float] = field(default_factory=dict)
    is_decaying: bool = True


def keep_rates(model: torch.nn.Module, rates: Rates) -> None:
    """The model carries them to whoever builds its optimiser."""
    model.__dict__[_KEPT_AS] = rates


def parameter_groups(model: torch.nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]] | None:
    """Groups for torch's optimisers, the slowest first; None where every weight learns alike."""
    rates: Rates | None = model.__dict__.get(_KEPT_AS)
    if rates is None:
        return None
    by_rate: dict[float, list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_rate[rates.times.get(name, 1.0)].append(parameter)
    decay = weight_decay if rates.is_decaying else 0.0
    return [{"params": by_rate[times], "lr": learning_rate * times, "weight_decay": decay} for times in sorted(by_rate)]
