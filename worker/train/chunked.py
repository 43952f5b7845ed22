"""Cross-entropy through a language model's head, a chunk of tokens at a time: (tokens x vocabulary) never exists.

Each chunk's gradient is taken while its logits are there, so that nothing of their size is kept for the backward
pass. Source: "Cut Your Losses in Large-Vocabulary Language Models" (arXiv:2411.09009) and of Liger
Kernel's fused linear cross-entropy (arXiv:2410.10989). Knows tensors and a head, neither rows nor models.
"""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from worker.methods.products import linear

CHUNK_ENTRIES = 2**24  # of one chunk's float32 logits: 64 MiB, 341 tokens of a vocabulary of 49,152


def nats_of(hidden: torch.Tensor, head: torch.nn.Module, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood, float32 (N,), of `targets` (N,) under head(hidden), hidden (N, width).

    Equal to cross_entropy(head(hidden).float(), targets, reduction="none") to rounding, gradients included. A head
    that is itself trained, or is more than a linear layer, is computed again in the backward pass.
    """
    if type(head) is torch.nn.Linear and "forward" not in vars(head) and not _is_trained(head):
        return _FrozenHead.apply(hidden, head.weight, head.bias, targets)
    step = _chunk(max((each.shape[0] for each in head.parameters()), default=1))
    parts = zip(hidden.split(step), targets.split(step), strict=True)
    return torch.cat([checkpoint(_nats, part, head, wanted, use_reentrant=False) for part, wanted in parts])


def _is_trained(head: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in head.parameters())


def _chunk(vocabulary: int) -> int:
    """Tokens in a chunk."""
    return max(1, CHUNK_ENTRIES // vocabulary)


def _nats(hidden: torch.Tensor, head: torch.nn.Module, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(head(hidden).float(), targets, reduction="none")


class _FrozenHead(torch.autograd.Function):
    """Shapes: hidden (N, width), weight (V, width), bias (V,) or None, targets (N,)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
    ) -> torch.Tensor:
        step = _chunk(weight.shape[0])
        nats = hidden.new_empty(len(targets), dtype=torch.float32)
        wanted = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None  # d nats[n] / d hidden[n], (N, width)
        for start in range(0, len(targets), step):
            part = slice(start, start + step)
            logits = linear(hidden[part], weight, bias).float()  # (n, V)
            normalisers = logits.logsumexp(dim=-1, keepdim=True)  # (n, 1)
            right = targets[part, None]
            nats[part] = (normalisers - logits.gather(1, right))[:, 0]
            if wanted is not None:
                shares = logits.sub_(normalisers).exp_()  # softmax, in the place of the logits
                shares.scatter_add_(1, right, shares.new_full(right.shape, -1.0))
                wanted[part] = linear(shares.to(weight.dtype), weight.T)
        ctx.save_for_backward(wanted)
        return nats

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads  # (N,)
        (wanted,) = ctx.saved_tensors
        return (wanted * grad[:, None]).to(wanted.dtype), None, None, None
