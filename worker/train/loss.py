"""The loss: negative log-likelihood summed over trained tokens, nothing averaged, nothing hidden.

Whoever calls divides by the trained tokens of the whole optimiser step, so the cut into forward passes cannot
change a gradient. Knows rendered rows and a model, not jobs.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from models.domain.progress import PreferenceFigures
from worker.data.render import Rendered
from worker.methods.virtual import has_virtual_tokens, hidden_behind
from worker.train.beginnings import WORTH, lay
from worker.train.chunked import nats_of
from worker.train.packing import can_pack, draws, longest_packable, packed_hidden


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


_FOUND: WeakKeyDictionary[torch.nn.Module, tuple[bool, bool, str | None]] = WeakKeyDictionary()
"""`packs`, `selects` and the attention of a model that still lives: a training asks for its trial and for itself."""


class TokenLoss:
    """Sums the loss of a model's trained tokens. Rows are packed and logits made in chunks wherever that is exact.

    A few architectures scale or cap their logits after the head, or remember beside attention; those take the
    model's own forward pass over padded rows. What is right is measured on one row at the start, not guessed from
    a name. `packs` and `selects` say what was found. Packed rows `share` what they have in common at the beginning,
    but not while dropout draws for each row by itself.
    """

    def __init__(self, model: PeftModel | PreTrainedModel, row: Rendered, *, shares: bool = True) -> None:
        self._model, self._shares = model, shares
        self._causal = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
        self.packs, self.selects = False, True
        self._virtual = model if isinstance(model, PeftModel) and has_virtual_tokens(model) else None
        self._longest_packable, self._draws = longest_packable(self._causal), draws(self._causal)
        known = _FOUND.get(model)
        if known is not None and known[2] == self._causal.config._attn_implementation:
            self.packs, self.selects, _ = known
            return
        batch = batch_of([row]).to(self._causal.device)
        was_training = model.training
        model.eval()  # dropout would draw from the training's random state, and differ from pass to pass
        head = cast(torch.nn.Module, self._causal.get_output_embeddings())
        with torch.no_grad(), _hidden_states(self._causal) as seen:
            whole = self._whole_logits(batch)
            hidden = self._hidden(batch) if self._virtual is not None else seen[0][:, :-1][batch.trained[:, 1:]]
            selected = head(hidden).float()
        # A base that computes NaN is not for us to judge: its first step fails, and says so.
        if torch.isfinite(whole).all():
            self.selects = torch.allclose(selected, whole, rtol=0.02, atol=0.02 * float(whole.abs().max()))
        # Each row must see the virtual tokens, and rows laid end to end have no place for them.
        self.packs = self.selects and self._virtual is None and can_pack(self._causal, batch.ids[0], seen[0][0])
        model.train(was_training)
        _FOUND[model] = self.packs, self.selects, self._causal.config._attn_implementation

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Summed nats, a float32 scalar."""
        return self._by_token(batch).sum()

    def by_row(self, batch: Batch) -> torch.Tensor:
        """Summed nats of each row, float32, (B,): minus the log-probability of its trained tokens."""
        rows = batch.trained[:, 1:].nonzero()[:, 0]  # (N,)
        nats = self._by_token(batch)
        return nats.new_zeros(len(batch.ids)).index_add(0, rows, nats)

    def _by_token(self, batch: Batch) -> torch.Tensor:
        """Nats of each trained token, row by row, float32, (N,)."""
        targets = batch.ids[:, 1:][batch.trained[:, 1:]]
        if not self.selects:
            return cross_entropy(self._whole_logits(batch), targets, reduction="none")
        return nats_of(self._hidden(batch), cast(torch.nn.Module, self._causal.get_output_embeddings()), targets)

    def _hidden(self, batch: Batch) -> torch.Tensor:
        """Where a trained token is predicted, row by row: (N, hidden)."""
        if self.packs and batch.ids.shape[1] <= self._longest_packable:
            return self._packed_hidden(batch)
        if self._virtual is not None:
            return hidden_behind(self._virtual, batch.ids, batch.attention)[:, :-1][batch.trained[:, 1:]]
        decoder = cast(torch.nn.Module, self._causal.get_decoder())
        hidden = decoder(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).last_hidden_state
        return hidden[:, :-1][batch.trained[:, 1:]]

    def _packed_hidden(self, batch: Batch) -> torch.Tensor:
        """As `_hidden`. A row's last trained token is predicted and not looked at, nor is what comes after it."""
        places = [[place for place, counts in enumerate(row) if counts] for row in batch.trained[:, 1:].tolist()]
        ends = [row[-1] + 1 if row else 1 for row in places]
        rows = [ids[:end] for ids, end in zip(batch.ids.tolist(), ends, strict=True)]
        shares = self._shares and not (self._draws and self._model.training)
        laid = lay(rows, worth=WORTH if shares else None)
        before = [there[place] for there, row in zip(laid.places, places, strict=True) for place in row]
        # Not by hidden[before]: where a place occurs more than once, its gradients' order would be left open.
        return packed_hidden(self._causal, laid).index_select(0, torch.tensor(before, device=batch.ids.device))

    def _whole_logits(self, batch: Batch) -> torch.Tensor:
        """(N, V). Tokens that a method puts in front of a row are not looked at."""
        width = batch.ids.shape[1]
        logits = self._model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits[:, -width:]
        return logits[:, :-1][batch.trained[:, 1:]].float()


@contextmanager
def _hidden_states(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Within, the last hidden states of every forward pass, (B, T, hidden)."""
    seen: list[torch.Tensor] = []
    decoder = cast(torch.nn.Module, model.get_decoder())
    handle = decoder.register_forward_hook(lambda _, __, found: seen.append(found.last_hidden_state))
    try:
        yield seen
    finally:
        handle.remove()


@dataclass(frozen=True, kw_only=True)
class MeanLoss:
    """Token-weighted: a long answer counts for more than a short one, as in training.

    `row_nats` and `row_tokens` are each row's own, always in the same order for the same passes.
    """

    loss_per_token: float
    trained_tokens: int
    row_nats: tuple[float, ...] = ()
    row_tokens: tuple[int, ...] = ()
    preference: PreferenceFigures | None = None


def evaluate(
    model: PeftModel | PreTrainedModel, loss: TokenLoss, passes: Iterable[Sequence[Rendered]], device: torch.device
) -> MeanLoss:
    """Mean loss over all trained tokens of the rows, without dropout and without touching any random state."""
    was_training = model.training
    model.eval()
    nats: list[float] = []
    tokens: list[int] = []
    for rows in passes:
        with torch.no_grad():
            nats += loss.by_row(batch_of(rows).to(device)).tolist()
        tokens += [row.trained_tokens for row in rows]
    model.train(was_training)
    return MeanLoss(
        loss_per_token=math.fsum(nats) / sum(tokens), trained_tokens=sum(tokens), row_nats=tuple(nats),
        row_tokens=tuple(tokens),
    )  # fmt: skip
