"""The adapter as it was before the first step: to measure the base with it later, and to see that training moved it.

A run that changed nothing is no success, whatever its loss says. Of a bf16 matrix 98 % of the entries do not move in
100 Adam steps at 1e-6; a frozen tensor never does.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.domain.errors import Code, JobFailed

ENTRIES = 4096  # of each tensor are remembered, evenly spread
FEWEST_STEPS = 3  # A has no gradient while B is zero, so its first move is the second step's


class Before:
    """All trained weights on the CPU until they have been put back once, then some entries of each."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._whole = {name: tensor.detach().cpu().clone() for name, tensor in _trained(model)}
        self._entries = {name: _some(tensor) for name, tensor in self._whole.items()}

    @contextmanager
    def put_back(self, model: torch.nn.Module) -> Iterator[None]:
        """While it lasts, the model is what it was before the first step. Once only."""
        now = {name: tensor.detach().clone() for name, tensor in _trained(model)}
        try:
            _put(model, self._whole)
            yield
        finally:
            _put(model, now)
            self._whole = {}

    def check_moved(self, model: torch.nn.Module, steps: int) -> list[str]:
        """A sentence naming tensors that are as they were. Raises JobFailed where all of them are."""
        now = ((name, tensor) for name, tensor in model.named_parameters() if name in self._entries)
        still = [name for name, tensor in now if torch.equal(self._entries[name], _some(tensor))]
        if steps < FEWEST_STEPS or not still:
            return []
        if len(still) == len(self._entries):
            raise JobFailed(
                f"after {steps} steps every weight of the adapter is what it was before: nothing was learnt, and the "
                "adapter would answer as the base does. Raise the learning rate, or tell an administrator.",
                code=Code.NOTHING_LEARNT,
                steps=steps,
            )
        return [f"{len(still):,} of {len(self._entries):,} trained tensors have not moved, {still[0]} first."]


def _trained(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, tensor) for name, tensor in model.named_parameters() if tensor.requires_grad)


def _put(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _trained(model):
            tensor.copy_(weights[name])


def _some(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().flatten()
    return flat[:: max(1, len(flat) // ENTRIES)].cpu().clone()
