"""The step that trains, against a second computation that shares nothing with it but the model.

Masks, padding, the shift by one, packing, beginnings in common and the weight of each forward pass are where a
fine-tune goes wrong without a word. So two rows, and one made of their halves, go through the trainer's own step in two
passes, and once more row by row in plain words: the mean over the trained tokens of the WHOLE step. Loss and gradient
must agree. That is done when the first step has been taken, of which nothing is kept if they do not: by then a LoRA's B
is no longer zero, and A has a gradient to compare.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel

from models.domain.errors import Code, JobFailed
from worker.data.render import Rendered
from worker.data.rendered import Span

SHORTEST = 32  # rows among which the pair is chosen: short ones cost little
MOST_TOKENS = 64  # of each: all logits of a long row would take more memory than the training itself
ALLOWED = {torch.float32: (1e-3, 1e-2), torch.bfloat16: (2e-2, 0.15)}  # of the loss, of the gradient's length


def check_first_step(
    model: PeftModel, rows: Sequence[Rendered], lengths: Sequence[int], dtype: torch.dtype,
    step: Callable[[Sequence[Sequence[Rendered]]], Any],
) -> None:  # fmt: skip
    """`step` takes forward passes of rows, leaves gradients, and returns the loss per trained token.

    Raises JobFailed with code `mask`. Leaves neither gradients nor a random state behind.
    """
    one, other = _pair(rows, lengths)
    mixed = _mixed(other, one)
    with torch.random.fork_rng(), _without_dropout(model):
        model.train()
        model.zero_grad(set_to_none=True)
        needed = _plain(model, [one, other, mixed])
        needed_gradient = _gradient(model)
        model.zero_grad(set_to_none=True)
        found, found_gradient = float(step([[one], [other, mixed]])), _gradient(model)
        model.zero_grad(set_to_none=True)
    allowed_loss, allowed_gradient = ALLOWED.get(dtype, ALLOWED[torch.bfloat16])
    apart = float((found_gradient - needed_gradient).norm() / needed_gradient.norm().clamp_min(1e-12))
    if not (abs(found - needed) <= allowed_loss * max(1.0, abs(needed)) and apart <= allowed_gradient):
        raise JobFailed(
            f"the first step learnt something else than these answers: a few rows have a loss of {found:.4f} there and "
            f"{needed:.4f} where only their trained tokens count, and gradients {apart:.0%} apart. Nothing of it is "
            "kept. Tell an administrator; this is no fault of the data.",
            code=Code.MASK, found=found, needed=needed, gradient_apart=apart,
        )  # fmt: skip


def _pair(rows: Sequence[Rendered], lengths: Sequence[int]) -> list[Rendered]:
    """Of the shortest rows those with the fewest and the most trained tokens: their weights differ most."""
    short = [rows[place] for place in sorted(range(len(rows)), key=lengths.__getitem__)[:SHORTEST]]
    by_tokens = sorted((_end_of(row) for row in short), key=lambda row: row.trained_tokens)
    return [by_tokens[0], by_tokens[-1]]


def _end_of(row: Rendered) -> Rendered:
    """A long row's last trained token and what is before it: a sequence like any other."""
    end = row.spans[-1].end
    start = max(0, end - MOST_TOKENS)
    spans = tuple(
        Span(turn=one.turn, start=max(one.start - start, 1), end=one.end - start)
        for one in row.spans if one.end - start > 1
    )  # fmt: skip
    return Rendered(ids=row.ids[start:end], spans=spans, text="")


def _mixed(one: Rendered, other: Rendered) -> Rendered:
    """The first half of one and the second of the other: it begins as the one does, and goes on differently."""
    middle, there = len(one.ids) // 2, len(other.ids) // 2
    head = [(span.turn, span.start, min(span.end, middle)) for span in one.spans if span.start < middle]
    tail = [
        (span.turn, max(span.start, there, 1) - there + middle, span.end - there + middle)
        for span in other.spans if span.end > there
    ]  # fmt: skip
    spans = tuple(Span(turn=turn, start=max(start, 1), end=end) for turn, start, end in head + tail)
    return Rendered(ids=one.ids[:middle] + other.ids[there:], spans=spans, text="")


def _plain(model: PeftModel, rows: Sequence[Rendered]) -> float:
    """Every row by itself, no padding, all logits, the mean negative log-likelihood of the trained tokens.

    Leaves its gradient.
    """
    loss, tokens = 0.0, sum(span.end - span.start for row in rows for span in row.spans)
    for row in rows:
        ids = torch.tensor([row.ids], device=model.device)  # (1, T)
        places = torch.tensor([place for span in row.spans for place in range(span.start, span.end)], device=ids.device)
        # Some methods put tokens of their own in front.
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0, -len(row.ids) :]
        said = logits[places - 1].float().log_softmax(dim=-1)  # (trained, V)
        nats = -said.gather(1, ids[0, places, None]).sum()
        (nats / tokens).backward()
        loss += float(nats.detach()) / tokens
    return loss


def _gradient(model: PeftModel) -> torch.Tensor:
    """All of it in one vector, zero where there is none."""
    return torch.cat(
        [
            (torch.zeros_like(one) if one.grad is None else one.grad).detach().float().flatten()
            for one in model.parameters()
            if one.requires_grad
        ]
    )


@contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    rates = {module: module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    try:
        for module in rates:
            module.p = 0.0
        yield
    finally:
        for module, rate in rates.items():
            module.p = rate
