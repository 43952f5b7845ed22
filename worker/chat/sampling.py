"""Draws the next token. Knows numbers only: no model, no text."""

import secrets

import torch

from models.domain.chat import Sampling
from models.domain.errors import AppError, Code


def generator_for(seed: int | None) -> torch.Generator:
    """A generator of this answer's own, on the host: answers served beside it cannot move it."""
    return torch.Generator("cpu").manual_seed(secrets.randbits(63) if seed is None else seed)


def draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token id from `logits` (V,), on the host in float32. Temperature 0 takes the likeliest, the first of equals.

    top_p keeps the smallest set of likeliest tokens that together reach it (arXiv:1904.09751).
    Raises NOT_FINITE where the model computed no number.
    """
    if torch.isnan(logits).any():
        raise AppError(
            "the model computed something that is not a number; its weights are damaged or overflow here. "
            "Serve it in fp32, or merge or train again.",
            code=Code.NOT_FINITE,
        )
    if sampling.temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, index = chances.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered  # what the likelier ones reach without this one
        chances = torch.zeros_like(chances).scatter(0, index, ordered.masked_fill(before >= sampling.top_p, 0.0))
    return int(torch.multinomial(chances, 1, generator=generator))
