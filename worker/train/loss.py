"""The loss: negative log-likelihood summed over trained tokens, nothing averaged, nothing hidden.

Whoever calls divides by the trained tokens of the whole optimiser step, so the cut into forward passes cannot
change a gradient. Knows rendered rows and a model, not jobs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from worker.data.render import Rendered


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows padded on the right. `trained[b, t]` says that predicting token t of row b counts."""

    ids: torch.Tensor  # (B, T)
    attention: torch.Tensor  # (B, T), 1 where there is a token
    trained: torch.Tensor  # (B, T), bool

    def to(self, device: torch.device) -> "Batch":
        return Batch(ids=self.ids.to(device), attention=self.attention.to(device), trained=self.trained.to(device))


def batch_of(rows: Sequence[Rendered]) -> Batch:
    """Masks come from spans and lengths, never from token ids: SmolLM2 pads with its own end-of-turn token."""
    width = max(len(row.ids) for row in rows)
    shape = (len(rows), width)
    ids, attention = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    trained = torch.zeros(shape, dtype=torch.bool)
    for index, row in enumerate(rows):
        length = len(row.ids)
        ids[index, :length] = torch.tensor(row.ids)
        attention[index, :length] = 1
        trained[index, :length] = torch.tensor(row.trained)
    return Batch(ids=ids, attention=attention, trained=trained)


class TokenLoss:
    """Sums the loss of a model's trained tokens, computing logits only where they are needed.

    A few architectures scale or cap their logits after the head; those take the model's own forward pass. Which
    way is right is measured on one row at the start, not guessed from a name.
    """

    def __init__(self, model: PeftModel | PreTrainedModel, row: Rendered) -> None:
        self._causal = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
        self._selects = True
        with torch.no_grad():
            batch = batch_of([row]).to(self._causal.device)
            selected, whole = self._selected_logits(batch), self._whole_logits(batch)
        # A base that computes NaN is not for us to judge: its first step fails, and says so.
        if torch.isfinite(whole).all():
            self._selects = torch.allclose(selected, whole, rtol=0.02, atol=0.02 * float(whole.abs().max()))

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Summed nats, a float32 scalar."""
        logits = self._selected_logits(batch) if self._selects else self._whole_logits(batch)
        return cross_entropy(logits, batch.ids[:, 1:][batch.trained[:, 1:]], reduction="sum")

    def _selected_logits(self, batch: Batch) -> torch.Tensor:
        decoder = cast(torch.nn.Module, self._causal.get_decoder())
        head = cast(torch.nn.Module, self._causal.get_output_embeddings())
        hidden = decoder(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).last_hidden_state
        return head(hidden[:, :-1][batch.trained[:, 1:]]).float()  # (N, V)

    def _whole_logits(self, batch: Batch) -> torch.Tensor:
        logits = self._causal(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits
        return logits[:, :-1][batch.trained[:, 1:]].float()  # (N, V)


@dataclass(frozen=True, kw_only=True)
class MeanLoss:
    """Token-weighted: a long answer counts for more than a short one, as in training."""

    loss_per_token: float
    trained_tokens: int


def evaluate(
    model: PeftModel | PreTrainedModel, loss: TokenLoss, passes: Iterable[Sequence[Rendered]], device: torch.device
) -> MeanLoss:
    """Mean loss over all trained tokens of the rows, without dropout and without touching any random state."""
    was_training = model.training
    model.eval()
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for rows in passes:
            nats += float(loss(batch_of(rows).to(device)))
            tokens += sum(row.trained_tokens for row in rows)
    model.train(was_training)
    return MeanLoss(loss_per_token=nats / tokens, trained_tokens=tokens)
