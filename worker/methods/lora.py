"""LoRA's product as one function: y = xW' + s·(xA')B', rounded once. Knows PEFT's layers, nothing of training.

PEFT rounds xW' to the base's dtype and adds the adapter's share afterwards. In bf16 a share below half a step of
the grid then vanishes without a trace: of Adam's first update at 2e-4 about 14 % arrived in our measurement, and
all of it does when the sum is formed before the one rounding. It is also faster: four thin products, not six.
"""

from types import MethodType
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Params4bit
from peft import PeftModel
from peft.tuners.lora.layer import LoraLayer


class _Product(torch.autograd.Function):
    """Shapes: x (N, in), a (rank, in), b (out, rank), weight (out, in) or packed; result (N, out)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:  # fmt: skip
        inner = (x @ a.to(x.dtype).T) * scale  # (N, rank)
        share = inner @ b.to(x.dtype).T  # (N, out)
        ctx.save_for_backward(x, a, b, inner)
        # Not through save_for_backward, which would lose the quantisation state that hangs on the parameter.
        ctx.weight, ctx.scale = weight, scale
        return torch.addmm(share if bias is None else share + bias, x, _dense(weight, x.dtype).T)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads  # (N, out)
        x, a, b, inner = ctx.saved_tensors
        outer = (grad @ b.to(grad.dtype)) * ctx.scale  # (N, rank)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.addmm(outer @ a.to(grad.dtype), grad, _dense(ctx.weight, grad.dtype))  # (N, in)
        grad_a = (outer.T @ x).to(a.dtype) if ctx.needs_input_grad[1] else None
        grad_b = (grad.T @ inner).to(b.dtype) if ctx.needs_input_grad[2] else None
        return grad_x, grad_a, grad_b, None, None, None


def _dense(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(weight, Params4bit):
        return dequantize_4bit(weight.data, weight.quant_state).to(dtype)
    return weight.to(dtype)


def fuse(model: PeftModel) -> int:
    """Let every plain LoRA layer over a linear base use the one product; returns how many do.

    Layers with dropout, several active adapters or a variant such as DoRA go PEFT's way, decided call by call.
    """
    fused = 0
    for module in model.modules():
        if isinstance(module, LoraLayer) and _is_linear(module.get_base_layer()):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _is_linear(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.Linear)


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    name = _only_adapter(layer)
    base = layer.get_base_layer()
    is_one_token = x.numel() == x.shape[-1] and isinstance(base.weight, Params4bit)
    # One token against packed weights: the packed kernel beats unpacking a whole layer.
    if name is None or args or kwargs or is_one_token or not _is_plain(layer, name):
        return type(layer).forward(layer, x, *args, **kwargs)
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    flat = x.reshape(-1, x.shape[-1])  # (N, in)
    return _Product.apply(flat, a, b, base.weight, base.bias, layer.scaling[name]).reshape(*x.shape[:-1], -1)


def _only_adapter(layer: Any) -> str | None:
    """The one active adapter that this layer has, if there is exactly one and nothing is merged or switched off."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    return active[0] if len(active) == 1 and not layer.disable_adapters and not layer.merged else None


def _is_plain(layer: Any, name: str) -> bool:
    dropout = layer.lora_dropout[name]
    is_dropping = layer.training and not isinstance(dropout, torch.nn.Identity)
    return not is_dropping and name not in layer.lora_variant and layer.lora_B[name].bias is None
