"""What a model says on given rows, and how far two models' words are apart. Knows no files and no thresholds.

One model is in memory at a time: the first one's logits are kept, the second's are compared with them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, log_softmax
from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rendered conversation. `is_answer[t]` says that token t is an answer's, so its loss counts.

    The first `shared` positions read what an earlier row has read (a system prompt): the same measurement again.
    """

    ids: Sequence[int]
    is_answer: Sequence[bool]
    shared: int = 0

    @property
    def answer_tokens(self) -> int:
        return sum(self.is_answer[1:])  # nothing predicts the first token


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Over all compared positions. KL is KL(reference || candidate), nats per position."""

    positions: int
    top1_agreement: float
    mean_kl: float


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one model said. `logits`: (T - shared, V) float32 on the host; `losses`: summed nats of a row's answer."""

    logits: Sequence[torch.Tensor]
    losses: Sequence[float]


@torch.inference_mode()
def hear(
    model: PreTrainedModel, for_logits: Sequence[Row], for_losses: Sequence[Row], tick: Callable[[], None]
) -> Heard:
    """Read each row once, also where it is in both lists, and keep what was asked for. `tick` is called at each."""
    kept: dict[tuple[int, ...], torch.Tensor] = {}
    losses = []
    for row in for_logits:
        tick()
        kept[tuple(row.ids)] = _logits(model, row)
    for row in for_losses:
        tick()
        losses.append(_loss(kept[tuple(row.ids)] if tuple(row.ids) in kept else _logits(model, row), row))
    return Heard(logits=[kept[tuple(row.ids)][row.shared :] for row in for_logits], losses=losses)


def distance(reference: Sequence[torch.Tensor], candidate: Sequence[torch.Tensor]) -> Distance:
    """Compare row by row, in float64: the smallest allowed KL (1e-6) is near float32's own noise."""
    positions, agreeing, kl_sum = 0, 0, 0.0
    for ours, theirs in zip(reference, candidate, strict=True):
        positions += len(ours)
        agreeing += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        p, q = log_softmax(ours.double(), -1), log_softmax(theirs.double(), -1)
        kl_sum += float((p.exp() * (p - q)).sum())
    return Distance(positions=positions, top1_agreement=agreeing / positions, mean_kl=kl_sum / positions)


def _logits(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """(T, V) in float32 on the host."""
    ids = torch.tensor([row.ids], device=model.device)  # (1, T)
    return model(input_ids=ids, use_cache=False).logits[0].float().cpu()


def _loss(logits: torch.Tensor, row: Row) -> float:
    """Summed loss of the answer's tokens: the logits at t predict token t+1."""
    keep, wanted = torch.tensor(row.is_answer[1:]), torch.tensor(row.ids[1:])
    return float(cross_entropy(logits[:-1][keep].double(), wanted[keep], reduction="sum"))
