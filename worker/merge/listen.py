"""What a model says on given rows, and how far two models' words are apart. Knows no files and no thresholds.

One model is in memory at a time: the first one's logits are kept, the second's are compared with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, log_softmax
from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rendered conversation. `is_answer[t]` says that token t is an answer's, so its loss counts."""

    ids: Sequence[int]
    is_answer: Sequence[bool]

    @property
    def answer_tokens(self) -> int:
        return sum(self.is_answer[1:])  # nothing predicts the first token


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Over all compared positions. KL is KL(reference || candidate), nats per position."""

    positions: int
    top1_agreement: float
    mean_kl: float


@torch.inference_mode()
def logits_of(model: PreTrainedModel, rows: Sequence[Row]) -> list[torch.Tensor]:
    """One (T, V) float32 tensor on the host for each row."""
    return [_logits(model, row).cpu() for row in rows]


@torch.inference_mode()
def losses_of(model: PreTrainedModel, rows: Sequence[Row]) -> list[float]:
    """The summed loss of each row's answer tokens, nats."""
    sums = []
    for row in rows:
        logits = _logits(model, row)[:-1]  # (T-1, V): position t predicts token t+1
        keep = torch.tensor(row.is_answer[1:], device=logits.device)
        wanted = torch.tensor(row.ids[1:], device=logits.device)
        sums.append(float(cross_entropy(logits[keep].double(), wanted[keep], reduction="sum")))
    return sums


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
    """(T, V) in float32."""
    ids = torch.tensor([row.ids], device=model.device)  # (1, T)
    return model(input_ids=ids, use_cache=False).logits[0].float()
