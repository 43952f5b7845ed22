"""int8 as weights alone: 8-bit codes and one scale a row, multiplied in the compute type. Knows layers, no jobs.

bitsandbytes' own 8-bit product rounds the inputs too, differently on each device and again differently in training.
Here the number that is trained on is the one that is served and merged: code x scale / 127.
"""

from types import MethodType
from typing import Any, cast

import torch
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from torch.nn.functional import linear

Quantised = Linear4bit | Linear8bitLt


def dense_weight(layer: Quantised, dtype: torch.dtype) -> torch.Tensor:
    """(out, in), as the live layer multiplies with when it computes in `dtype`."""
    if isinstance(layer, Linear4bit):
        return unpacked_4bit(cast(Params4bit, layer.weight), dtype)
    codes = cast(Int8Params, layer.weight)
    return int8_vectorwise_dequant(codes.data, cast(torch.Tensor, codes.SCB)).to(dtype)


def unpacked_4bit(weight: Params4bit, dtype: torch.dtype) -> torch.Tensor:
    """(out, in)"""
    return dequantize_4bit(weight.data, weight.quant_state).to(dtype)


def multiply_by_weights_alone(layer: Linear8bitLt) -> None:
    layer.forward = MethodType(_forward, layer)


class _Product(torch.autograd.Function):
    """y = xW' for a frozen W that is unpacked anew in each direction: shapes x (..., in), y (..., out)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Linear8bitLt) -> torch.Tensor:
        ctx.layer = layer
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return linear(x, dense_weight(layer, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        return grad @ dense_weight(ctx.layer, grad.dtype), None


def _forward(layer: Linear8bitLt, x: torch.Tensor) -> torch.Tensor:
    return _Product.apply(x, layer)  # type: ignore[return-value]
