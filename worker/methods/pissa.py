"""PiSSA's first weights: the largest singular directions of each layer, and the same once more to be taken away.

Source: arXiv:2404.02948, eq. 2 and 3. Knows PEFT's LoRA layers; the base is read and never written.
"""

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import LoraLayer

from models.catalog.methods.pissa import PissaOptions
from worker.methods.rates import Rates
from worker.quantised import Quantised, dense_weight

EXACT_TO = 512  # a side of a layer
MORE = 8  # directions beyond the rank that the quick decomposition looks at
ROUNDS = 4  # of its power iteration


def begin(model: PeftModel, options: PissaOptions) -> Rates:
    """Fill A = [A1; A0] and B = [B1, -B0] with A1 = A0, B1 = B0: nothing is added yet. Only A1 and B1 learn."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and "default" in layer.lora_A:
            _fill(layer)
    return Rates(is_decaying=False)  # decay would pull the halves apart and delete what the base knows


def _fill(layer: Any) -> None:
    """Shapes: A (2·rank, in), B (out, 2·rank); s·B0·A0 is the best approximation of W of this rank."""
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    rank, scale = a.shape[0] // 2, layer.scaling["default"]
    base = layer.get_base_layer()
    weight = dense_weight(base, torch.float32) if isinstance(base, Quantised) else base.weight.detach().float()
    left, values, right = _directions(weight, rank)  # (out, rank), (rank,), (rank, in)
    roots = torch.sqrt(values / scale)
    first_a, first_b = roots[:, None] * right, left * roots
    with torch.no_grad():
        a.copy_(torch.cat((first_a, first_a)))
        b.copy_(torch.cat((first_b, -first_b), dim=1))
    a.register_hook(lambda grad: _first(grad, rank, 0))
    b.register_hook(lambda grad: _first(grad, rank, 1))


def _directions(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, S and V' of the `rank` largest singular values; quick for large layers, exact for small ones."""
    if min(weight.shape) <= max(EXACT_TO, 2 * (rank + MORE)):
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
    else:
        left, values, turned = torch.svd_lowrank(weight, q=rank + MORE, niter=ROUNDS)
        right = turned.T
    return left[:, :rank], values[:rank], right[:rank]


def _first(grad: torch.Tensor, rank: int, axis: int) -> torch.Tensor:
    """The gradient of the half that learns."""
    kept = grad.clone()
    kept.narrow(axis, rank, rank).zero_()
    return kept
