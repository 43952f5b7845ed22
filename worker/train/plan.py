"""Plans every batch of every epoch before the first step, from lengths and a seed. Draws no random numbers.

The first step holds the longest row of its epoch: what does not fit ends the run at once, not hours in. All epochs are
one list, so a resumed training counts steps and nothing else. A stock trainer takes the number of steps from the first
epoch's batches and has trained 54 of 58.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from models.domain.estimate import steps_per_epoch

MicroRows = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`steps[k]` are the rows of optimiser step k + 1, cut into the forward passes that fit."""

    steps: tuple[tuple[MicroRows, ...], ...]
    steps_per_epoch: int

    def sha256(self) -> str:
        """Of the rows of every step. How they are cut into passes does not change what is learnt, and may change."""
        rows = [sorted(row for one in step for row in one) for step in self.steps]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """The most that one forward pass takes: `rows`, and `tokens` counted with padding."""

    rows: int
    tokens: int

    def halved(self) -> "MicroBatch":
        return MicroBatch(rows=max(1, self.rows // 2), tokens=max(1, self.tokens // 2))


def plan_batches(
    lengths: Sequence[int], *, epochs: int, batch_rows: int, micro: MicroBatch, seed: int,
    steps: int | None = None, batch_tokens: int | None = None,
) -> Plan:  # fmt: skip
    """Every row once an epoch, in an order of its own each epoch; rows of a step sorted by length to save padding.

    In the first epoch the step with the longest row changes places with the first one, however steps are cut.

    `steps` takes the place of `epochs`: so many, the last epoch cut short. `batch_tokens` takes the place of
    `batch_rows`: each epoch has as many steps as `estimate.steps_per_epoch` says, of about equally many tokens.
    """
    per_epoch = steps_per_epoch(len(lengths), batch_rows, batch_tokens=batch_tokens, tokens=sum(lengths))
    total = epochs * per_epoch if steps is None else steps
    planned: list[tuple[MicroRows, ...]] = []
    for epoch in range(-(-total // per_epoch)):
        order = sorted(range(len(lengths)), key=lambda row: _draw(seed, epoch, row))
        if batch_tokens is None:
            parts = [order[start : start + batch_rows] for start in range(0, len(order), batch_rows)]
        else:
            parts = _in_parts(order, lengths, per_epoch)
        planned += [_cut(part, lengths, micro) for part in parts[: total - len(planned)]]
        if epoch == 0:
            longest = max(range(len(planned)), key=lambda step: _longest_row(planned[step], lengths))
            planned[0], planned[longest] = planned[longest], planned[0]
    return Plan(steps=tuple(planned), steps_per_epoch=per_epoch)


def cut_rows(lengths: Sequence[int], micro: MicroBatch) -> tuple[MicroRows, ...]:
    """All rows in forward passes, for an evaluation."""
    return _cut(list(range(len(lengths))), lengths, micro)


def _draw(seed: int, epoch: int, row: int) -> bytes:
    """A hash orders the rows: the same on every machine and library version, which `random` does not promise."""
    return hashlib.sha256(f"{seed}/{epoch}/{row}".encode()).digest()


def _longest_row(step: tuple[MicroRows, ...], lengths: Sequence[int]) -> int:
    return max(lengths[row] for one in step for row in one)


def _in_parts(order: Sequence[int], lengths: Sequence[int], parts: int) -> list[list[int]]:
    """The rows in `parts` runs, none empty, each ending at the row that reaches its share of the tokens."""
    total, seen, found = sum(lengths), 0, [[]]
    for place, row in enumerate(order):
        found[-1].append(row)
        seen += lengths[row]
        to_come = parts - len(found)
        if to_come and (seen * parts >= total * len(found) or len(order) - place - 1 <= to_come):
            found.append([])
    return found


def _cut(rows: list[int], lengths: Sequence[int], micro: MicroBatch) -> tuple[MicroRows, ...]:
    passes: list[MicroRows] = []
    current: list[int] = []
    for row in sorted(rows, key=lambda row: (lengths[row], row)):
        # Sorted upwards, so the newest row is the longest and sets the padded width.
        if current and (len(current) == micro.rows or (len(current) + 1) * lengths[row] > micro.tokens):
            passes.append(tuple(current))
            current = []
        current.append(row)
    passes.append(tuple(current))
    return tuple(passes)
