"""The layers between a training's products, with fewer walks through memory: gated units and root mean square norms.

Written op by op, as transformers does, silu(gate)·up and its gradient walk 15 times through tensors of (tokens x width)
and keep four for the backward pass. Here a piece at a time goes through all of it while it lies in a core's cache, and
three are kept. Only in float32 on a CPU, and only layers of a class that was tried and gave the same numbers. Knows
torch's modules, nothing of training.
"""

from collections.abc import Callable, Iterator
from copy import copy
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import silu

PIECE = 1 << 17  # entries of a tensor at a time: three of half a megabyte lie in the caches of two cores
CLOSE = 1e-5
Way = Callable[[torch.Tensor], torch.Tensor]


class _Gated(torch.autograd.Function):
    """silu(gate)·up; all (N, width), float32, contiguous. Source: GLU Variants (arXiv:2002.05202), eq. 5."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        made = torch.empty_like(gate)
        for piece, g, u in _pieces(made, gate, up):
            torch.mul(silu(g), u, out=piece)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        grad = grads[0].contiguous()
        to_gate, to_up = torch.empty_like(gate), torch.empty_like(up)
        for one, g, u, into_gate, into_up in _pieces(grad, gate, up, to_gate, to_up):
            torch.mul(one, silu(g), out=into_up)
            torch.ops.aten.silu_backward.grad_input(one * u, g, grad_input=into_gate)
        return to_gate, to_up


class _Norm(torch.autograd.Function):
    """x / sqrt(mean(x²) + eps) · weight over the last axis; x (N, width), float32. Source: arXiv:1910.07467, eq. 4."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        made = torch.empty_like(x)
        shares = x.new_empty(len(x), 1)
        for piece, rows, share in _pieces(made, x, shares):
            torch.mean(rows.square(), dim=-1, keepdim=True, out=share)
            share.add_(eps).rsqrt_()
            torch.mul(rows, share, out=piece).mul_(weight)
        ctx.save_for_backward(x, weight, shares)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, shares = ctx.saved_tensors
        grad = grads[0].contiguous()
        made = torch.empty_like(x)
        for one, rows, share, piece in _pieces(grad, x, shares, made):
            torch.mul(one, weight, out=piece)
            along = torch.linalg.vecdot(piece, rows)[:, None].mul_(share).mul_(share).div_(-x.shape[-1])
            piece.addcmul_(rows, along).mul_(share)
        return made, None, None


def _pieces(*tensors: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """The same rows of each, so many that the widest has PIECE entries."""
    rows = max(1, PIECE // max(tensor.shape[-1] for tensor in tensors))
    for start in range(0, len(tensors[0]), rows):
        yield [tensor[start : start + rows] for tensor in tensors]


def lighten(model: torch.nn.Module) -> int:
    """Let gated units and norms of this model compute as above; returns how many do.

    A layer does where one of its class was tried and gave the same values and gradients.
    """
    tried: dict[tuple[type, type | None], bool] = {}
    lightened = 0
    for module in model.modules():
        forward = _gated if _looks_gated(module) else _normed if _looks_like_norm(module) else None
        if forward is None:
            continue
        kind = type(module), type(getattr(module, "act_fn", None))
        if kind not in tried:
            tried[kind] = _gates_alike(module) if forward is _gated else _norms_alike(module)
        if tried[kind]:
            module.forward = MethodType(forward, module)
            lightened += 1
    return lightened


def _looks_gated(module: torch.nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn"))


def _looks_like_norm(module: torch.nn.Module) -> bool:
    return type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")


class _Reversed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(-1)


def _gates_alike(module: Any) -> bool:
    """Tried without its products: what its forward pass does with what they give."""
    probe = copy(module)
    identity = torch.nn.Identity()
    probe._modules = {**module._modules, "gate_proj": identity, "up_proj": _Reversed(), "down_proj": identity}
    return _alike(lambda x: type(module).forward(probe, x), lambda x: _gated(probe, x), 24)


def _norms_alike(module: Any) -> bool:
    if module.weight.dtype != torch.float32 or module.weight.device.type != "cpu":
        return False
    width = module.weight.shape[0]
    return _alike(lambda x: type(module).forward(module, x), lambda x: _norm(module, x), width)


def _alike(
    plain: Callable[[torch.Tensor], torch.Tensor], ours: Callable[[torch.Tensor], torch.Tensor], width: int
) -> bool:
    draw = torch.Generator().manual_seed(0)
    x, grad = torch.randn((2, 3, width), generator=draw), torch.randn((2, 3, width), generator=draw)
    try:
        found = []
        for way in (plain, ours):
            given = x.clone().requires_grad_()
            made = way(given)
            found.append((made, torch.autograd.grad(made, given, grad)[0]))
    except Exception:  # noqa: BLE001 - it takes something else than one tensor, which each class says in its own way
        return False
    return all(torch.allclose(one, other, rtol=CLOSE, atol=CLOSE) for one, other in zip(*found, strict=True))


def _gated(module: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up = module.gate_proj(x), module.up_proj(x)
    if not _is_ours(gate, up):
        return module.down_proj(module.act_fn(gate) * up)
    flat = _Gated.apply(gate.reshape(-1, gate.shape[-1]), up.reshape(-1, up.shape[-1]))
    return module.down_proj(flat.view(gate.shape))


def _normed(module: Any, x: torch.Tensor) -> torch.Tensor:
    if not _is_ours(x, module.weight) or module.weight.requires_grad:
        return type(module).forward(module, x)
    return _norm(module, x)


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    return _Norm.apply(x.reshape(-1, x.shape[-1]), module.weight, module.variance_epsilon).view(x.shape)


def _is_ours(*tensors: torch.Tensor) -> bool:
    return all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
