"""LoRA's product as one function, in two forms. Knows PEFT's layers, nothing of training.

Two products: y = xW' + s·(xA')B', rounded once. PEFT rounds xW' to the base's dtype and adds the adapter's share
afterwards. In bf16 a share below half a step of the grid then vanishes without a trace: of Adam's first update at
2e-4 about 14 % arrived in our measurement, and all of it does when the sum is formed before the one rounding.

Folded: y = x(W + s·BA)', where the sum is formed and used in float32; never in bf16, where it would lose 96 % of
that update. It swaps thin products that grow with the tokens for one that does not, so it pays with many tokens.
The weights themselves are never touched.
"""

from types import MethodType
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from peft import PeftModel
from peft.tuners.lora.layer import LoraLayer

from worker.methods.products import linear
from worker.quantised import unpacked_4bit

# Fold from so many tokens on, as a multiple of in·out / (in + out), where both forms have equally many thin
# multiplications to do: measured, see docs/performance.md.
FOLD_FROM = 2.4
UNPACKED = "unpacked_weight"  # where a quantised layer holds its dense weight for a while (`worker.unpacked`)


class _Product(torch.autograd.Function):
    """Shapes: x (N, in), a (rank, in), b (out, rank), weight (out, in) or packed; result (N, out)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:  # fmt: skip
        inner = linear(x, a.to(x.dtype)) * scale  # (N, rank)
        ctx.save_for_backward(x, a, b, inner)
        # Not through save_for_backward, which would lose the quantisation state that hangs on the parameter.
        ctx.weight, ctx.scale = weight, scale
        if x.dtype == torch.float32:
            return linear(x, _dense(weight, x.dtype), bias).addmm_(inner, b.to(x.dtype).T)
        share = inner @ b.to(x.dtype).T  # (N, out)
        return torch.addmm(share if bias is None else share + bias, x, _dense(weight, x.dtype).T)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads  # (N, out)
        x, a, b, inner = ctx.saved_tensors
        outer = linear(grad, b.to(grad.dtype).T) * ctx.scale  # (N, rank)
        grad_x = None
        if ctx.needs_input_grad[0]:
            weight = _dense(ctx.weight, grad.dtype)
            if grad.dtype == torch.float32:
                grad_x = linear(grad, weight.T).addmm_(outer, a.to(grad.dtype))  # (N, in)
            else:
                grad_x = torch.addmm(outer @ a.to(grad.dtype), grad, weight)
        grad_a = linear(outer.T, x.T).to(a.dtype) if ctx.needs_input_grad[1] else None
        grad_b = linear(inner.T, grad.T).T.to(b.dtype) if ctx.needs_input_grad[2] else None
        return grad_x, grad_a, grad_b, None, None, None


class _Folded(torch.autograd.Function):
    """Shapes as `_Product`; all float32. Source: arXiv:2106.09685, eq. 3, with gradients of the rank's size."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:  # fmt: skip
        ctx.save_for_backward(x, a, b)
        ctx.weight, ctx.scale = weight, scale
        return linear(x, _sum(weight, a, b, scale), bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads  # (N, out)
        x, a, b = ctx.saved_tensors
        # Summed again rather than kept: the sums of all layers are a second model in memory.
        grad_x = linear(grad, _sum(ctx.weight, a, b, ctx.scale).T) if ctx.needs_input_grad[0] else None  # (N, in)
        grad_a = linear(linear(grad, b.T).T, x.T).mul_(ctx.scale) if ctx.needs_input_grad[1] else None
        grad_b = linear(linear(x, a).T, grad.T).mul_(ctx.scale).T if ctx.needs_input_grad[2] else None
        return grad_x, grad_a, grad_b, None, None, None


def _sum(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """W + s·BA in float32, (out, in): a new tensor, whatever the weight is held in."""
    dense = _dense(weight, torch.float32)
    if dense is weight:
        return torch.addmm(dense, b, a, alpha=scale)
    return dense.addmm_(b, a, alpha=scale)


def _is_folding(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> bool:
    """True where the sum is formed and used in float32 and there are tokens enough; x is (N, in)."""
    if not x.dtype == a.dtype == b.dtype == torch.float32 or torch.get_float32_matmul_precision() != "highest":
        return False
    wide, out = a.shape[1], b.shape[0]
    return x.shape[0] * (wide + out) >= FOLD_FROM * wide * out


def _dense(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(weight, Params4bit):
        return unpacked_4bit(weight, dtype)
    return weight.to(dtype)


def fuse(model: PeftModel) -> int:
    """Let every plain LoRA layer over a linear base use one of the two forms; returns how many do.

    Layers with dropout, several active adapters or a variant such as DoRA go PEFT's way, decided call by call.
    """
    fused = 0
    for module in model.modules():
        if isinstance(module, LoraLayer) and _is_linear(module.get_base_layer()):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _is_linear(layer: torch.nn.Module) -> bool:
    """Exactly these: a subclass may hold its weight in codes of its own, as bitsandbytes' 8-bit layer does."""
    return type(layer) in (torch.nn.Linear, Linear4bit)


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    name = _only_adapter(layer)
    base = layer.get_base_layer()
    weight = base.__dict__.get(UNPACKED, base.weight)
    is_one_token = x.numel() == x.shape[-1] and isinstance(weight, Params4bit)
    # One token against packed weights: the packed kernel beats unpacking a whole layer.
    if name is None or args or kwargs or is_one_token or not _is_plain(layer, name):
        return type(layer).forward(layer, x, *args, **kwargs)
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    flat = x.reshape(-1, x.shape[-1])  # (N, in)
    product = _Folded if _is_folding(flat, a, b) else _Product
    return product.apply(flat, a, b, weight, base.bias, layer.scaling[name]).reshape(*x.shape[:-1], -1)


def _only_adapter(layer: Any) -> str | None:
    """The one active adapter that this layer has, if there is exactly one and nothing is merged or switched off."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    return active[0] if len(active) == 1 and not layer.disable_adapters and not layer.merged else None


def _is_plain(layer: Any, name: str) -> bool:
    dropout = layer.lora_dropout[name]
    is_dropping = layer.training and not isinstance(dropout, torch.nn.Identity)
    return not is_dropping and name not in layer.lora_variant and layer.lora_B[name].bias is None
