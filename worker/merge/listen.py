"""What a model says on given rows, and how far two models' words are apart. Knows no files and no thresholds.

One model is in memory at a time: the first one's logits are kept, the second's are compared with them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import cross_entropy, log_softmax
from transformers import PreTrainedModel

BATCH_TOKENS = 512  # of one pass: most of what larger ones gain, in little memory


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
    """Read each row once, also where it is in both lists, and keep what was asked for. `tick` is called at each batch.

    Rows of like length are read together. Which ones depends on the rows alone, so two models are heard alike.
    """
    wishes: dict[tuple[int, ...], _Wish] = {}
    for row in for_logits:
        wishes.setdefault(tuple(row.ids), _Wish(ids=tuple(row.ids))).shared = row.shared
    for number, row in enumerate(for_losses):
        wishes.setdefault(tuple(row.ids), _Wish(ids=tuple(row.ids))).judged[number] = row
    logits: dict[tuple[int, ...], torch.Tensor] = {}
    losses = [0.0] * len(for_losses)
    for batch in _batches(wishes.values()):
        tick()
        for wish, said in zip(batch, _read(model, batch), strict=True):
            if wish.shared is not None:
                logits[wish.ids] = said[wish.shared - wish.first :].clone()  # not a view of its whole batch
            for number, row in wish.judged.items():
                losses[number] = _loss(said, row, wish.first)
    return Heard(logits=[logits[tuple(row.ids)] for row in for_logits], losses=losses)


def distance(reference: Sequence[torch.Tensor], candidate: Sequence[torch.Tensor]) -> Distance:
    """Compare row by row, in float64: the smallest allowed KL (1e-6) is near float32's own noise."""
    positions, agreeing, kl_sum = 0, 0, 0.0
    for ours, theirs in zip(reference, candidate, strict=True):
        positions += len(ours)
        agreeing += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        p, q = log_softmax(ours.double(), -1), log_softmax(theirs.double(), -1)
        kl_sum += float((p.exp() * (p - q)).sum())
    return Distance(positions=positions, top1_agreement=agreeing / positions, mean_kl=kl_sum / positions)


@dataclass(kw_only=True)
class _Wish:
    """What is wanted of one text: the logits from `shared` on, the losses of some rows by number, or both."""

    ids: tuple[int, ...]
    shared: int | None = None
    judged: dict[int, Row] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The first position whose logits are of use. Those at t predict token t+1."""
        last = len(self.ids) - 1
        answers = [tuple(row.is_answer).index(True, 1) - 1 for row in self.judged.values() if row.answer_tokens]
        return min([*answers, last if self.shared is None else self.shared])


def _batches(wishes: Iterable[_Wish]) -> Iterator[list[_Wish]]:
    """Shortest first, as many as keep a batch with its padding below BATCH_TOKENS; a longer row goes alone."""
    batch: list[_Wish] = []
    for wish in sorted(wishes, key=lambda wish: len(wish.ids)):
        if batch and (len(batch) + 1) * len(wish.ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(wish)
    if batch:
        yield batch


def _read(model: PreTrainedModel, batch: Sequence[_Wish]) -> list[torch.Tensor]:
    """(T - first, V) of each row in float32 on the host. Only what one of them wants goes through the head."""
    longest = max(len(wish.ids) for wish in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)  # (B, T); padded behind, which no earlier token sees
    for row, wish in enumerate(batch):
        ids[row, : len(wish.ids)] = torch.tensor(wish.ids)
    begin = min(wish.first for wish in batch)
    said = model(input_ids=ids.to(model.device), use_cache=False, logits_to_keep=longest - begin).logits
    return [said[row, wish.first - begin : len(wish.ids) - begin].float().cpu() for row, wish in enumerate(batch)]


def _loss(logits: torch.Tensor, row: Row, first: int) -> float:
    """Summed loss of the answer's tokens, from the logits at `first` and after."""
    keep, wanted = torch.tensor(row.is_answer[first + 1 :]), torch.tensor(row.ids[first + 1 :])
    return float(cross_entropy(logits[:-1][keep].double(), wanted[keep], reduction="sum"))
