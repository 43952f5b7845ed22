"""Plans every batch of every epoch before the first step, from lengths and a seed. Draws no random numbers.

All epochs are one list, so a resumed training counts steps and nothing else. A stock trainer takes the number of
steps from the first epoch's batches and has trained 54 of 58.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

MicroRows = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`steps[k]` are the rows of optimiser step k + 1, cut into the forward passes that fit."""

    steps: tuple[tuple[MicroRows, ...], ...]
    steps_per_epoch: int

    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.steps).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """The most that one forward pass takes: `rows`, and `tokens` counted with padding."""

    rows: int
    tokens: int

    def halved(self) -> "MicroBatch":
        return MicroBatch(rows=max(1, self.rows // 2), tokens=max(1, self.tokens // 2))


def plan_batches(lengths: Sequence[int], *, epochs: int, batch_rows: int, micro: MicroBatch, seed: int) -> Plan:
    """Every row once an epoch, in an order of its own each epoch; rows of a step sorted by length to save padding."""
    steps: list[tuple[MicroRows, ...]] = []
    for epoch in range(epochs):
        order = sorted(range(len(lengths)), key=lambda row: _draw(seed, epoch, row))
        for start in range(0, len(order), batch_rows):
            steps.append(_cut(order[start : start + batch_rows], lengths, micro))
    return Plan(steps=tuple(steps), steps_per_epoch=len(steps) // epochs)


def cut_rows(lengths: Sequence[int], micro: MicroBatch) -> tuple[MicroRows, ...]:
    """All rows in forward passes, for an evaluation."""
    return _cut(list(range(len(lengths))), lengths, micro)


def _draw(seed: int, epoch: int, row: int) -> bytes:
    """A hash orders the rows: the same on every machine and library version, which `random` does not promise."""
    return hashlib.sha256(f"{seed}/{epoch}/{row}".encode()).digest()


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
