"""Lets a quantised base compute with its weights unpacked for a while, where that takes no more memory than it had.

Answering token by token with packed weights unpacks the whole base for every token. An evaluation keeps nothing for a
backward pass, so on a CPU there is often room for the unpacked weights below what a training step took already. Every
number stays what it was: the same weights, multiplied the same way. Knows layers, no jobs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from worker.methods.lora import UNPACKED
from worker.quantised import Quantised, dense_weight


@contextmanager
def unpacked(model: torch.nn.Module, dtype: torch.dtype, room_bytes: int) -> Iterator[bool]:
    """While it lasts, quantised layers hold their dense weights in `dtype`; yields whether they do.

    They do where all of them fit into `room_bytes` (`worker.device.bytes_below_peak`).
    """
    layers = [module for module in model.modules() if isinstance(module, Quantised)]
    needed = sum(layer.in_features * layer.out_features for layer in layers) * dtype.itemsize
    if not layers or needed > room_bytes:
        yield False
        return
    forwards = [layer.__dict__.get("forward") for layer in layers]
    try:
        for layer in layers:
            weight = dense_weight(layer, dtype)
            layer.__dict__[UNPACKED] = weight
            layer.__dict__["forward"] = partial(_forward, layer, weight)
        yield True
    finally:
        for layer, forward in zip(layers, forwards, strict=True):
            layer.__dict__.pop(UNPACKED, None)
            layer.__dict__.pop("forward", None)
            if forward is not None:
                layer.__dict__["forward"] = forward


def _forward(layer: Quantised, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    return torch.nn.functional.linear(x.to(weight.dtype), weight, bias).to(x.dtype)
