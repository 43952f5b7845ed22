"""Rows that begin alike, laid end to end with what they have in common once. Knows token ids, no model.

Under causal attention a token's values depend on it and what is before it, so the same beginning has the same values
in every row: a template's system message, a long instruction, the prompt of two answers that are compared. It is
computed once, and every row that goes on from it adds to its gradient. Source: the idea of "Accelerating Direct
Preference Optimization with Prefix Sharing" (arXiv:2410.20305), for any number of rows and beginnings of beginnings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch

WORTH = 8  # tokens saved by a common beginning that make up for another piece in attention
Ids = list[int]


@dataclass(frozen=True, kw_only=True)
class Laid:
    """Pieces of rows end to end, N tokens. A row is a chain of pieces, each behind the one that it goes on from."""

    ids: list[int]  # (N,)
    positions: list[int]  # (N,) of each token in its rows
    lengths: tuple[int, ...]  # of the pieces, N in all
    before: tuple[tuple[int, ...], ...]  # the pieces that lead to each, from its rows' first token on
    places: tuple[list[int], ...]  # of each row's tokens among the N
    _masks: dict[tuple[int, torch.dtype], torch.Tensor] = field(default_factory=dict)

    def mask(self, piece: int, like: torch.Tensor) -> torch.Tensor:
        """What a piece may look at: (1, 1, own tokens, earlier + own), 0 or minus infinity. Made once for all."""
        key = piece, like.dtype
        if key not in self._masks:
            own = self.lengths[piece]
            earlier = sum(self.lengths[each] for each in self.before[piece])
            ahead = torch.ones((own, earlier + own), dtype=torch.bool, device=like.device).triu(earlier + 1)
            mask = torch.zeros(ahead.shape, dtype=like.dtype, device=like.device).masked_fill_(ahead, float("-inf"))
            self._masks[key] = mask[None, None]
        return self._masks[key]


def lay(rows: Sequence[Ids], *, worth: int | None = WORTH) -> Laid:
    """The rows as pieces; with `worth` None each row is one piece, and nothing is shared."""
    laying = _Laying(rows)
    if worth is None:
        for number in range(len(rows)):
            laying.put(rows[number], (number,), ())
    else:
        laying.grow(sorted(range(len(rows)), key=rows.__getitem__), 0, (), worth)
    return laying.laid()


class _Laying:
    def __init__(self, rows: Sequence[Ids]) -> None:
        self._rows = rows
        self._ids: list[int] = []
        self._positions: list[int] = []
        self._lengths: list[int] = []
        self._before: list[tuple[int, ...]] = []
        self._places: list[list[int]] = [[] for _ in rows]

    def laid(self) -> Laid:
        return Laid(
            ids=self._ids, positions=self._positions, lengths=tuple(self._lengths), before=tuple(self._before),
            places=tuple(self._places),
        )  # fmt: skip

    def put(self, ids: Ids, of: Sequence[int], before: tuple[int, ...]) -> tuple[int, ...]:
        """A piece that goes on from those before it, for these rows. Returns the chain with it."""
        if not ids:
            return before
        start, first = sum(self._lengths[each] for each in before), len(self._ids)
        self._ids += ids
        self._positions += range(start, start + len(ids))
        self._before.append(before)
        self._lengths.append(len(ids))
        for number in of:
            self._places[number] += range(first, first + len(ids))
        return (*before, len(self._lengths) - 1)

    def grow(self, of: Sequence[int], depth: int, before: tuple[int, ...], worth: int) -> None:
        """Rows in alphabetical order whose first `depth` tokens are laid: what they share, then what each adds."""
        if len(of) == 1:
            self.put(self._rows[of[0]][depth:], of, before)
            return
        shared = _shared(self._rows[of[0]], self._rows[of[-1]], depth)  # the first and the last are the least alike
        if (shared - depth) * (len(of) - 1) >= worth:
            before = self.put(self._rows[of[0]][depth:shared], of, before)
            depth = shared
        for part in _parted(of, self._rows, shared):
            self.grow(part, depth, before, worth)


def _shared(one: Ids, other: Ids, known: int) -> int:
    """Tokens at the beginning that are the same; at least `known`."""
    at, end = known, min(len(one), len(other))
    while at < end and one[at] == other[at]:
        at += 1
    return at


def _parted(of: Sequence[int], rows: Sequence[Ids], at: int) -> Iterator[Sequence[int]]:
    """Runs of rows with the same token at this place; rows that end there are by themselves."""
    tokens = [rows[number][at] if len(rows[number]) > at else None for number in of]
    cuts = [0, *(k for k in range(1, len(of)) if tokens[k] is None or tokens[k] != tokens[k - 1]), len(of)]
    for start, end in pairwise(cuts):
        yield of[start:end]
