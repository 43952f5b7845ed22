"""The rows of a preference training: two sequences each, kept small. Knows tokens; no loss and no torch.

DPO: the better and the worse answer to one prompt. KTO: an answer with its label, and beside it the same prompt with
the answer to another one, by which the distance from the reference is estimated (arXiv:2402.01306, eq. 8).
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import overload

import numpy as np
from numpy.typing import NDArray

from worker.data.rendered import Rendered, Span
from worker.train.sequences import Sequences

FARTHEST = 64  # rows to look at for another prompt's answer that fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """`reference` are the log-probabilities (nats) of the two under the reference, 0 until they are measured.

    `second` is None where a labelled row has no other prompt's answer beside it. `is_good`: the label of `first`.
    """

    first: Rendered
    second: Rendered | None
    is_good: bool
    reference: tuple[float, float]


class Pairs(Sequence[Pair]):
    """Each pair as often as it is seen in an epoch. `lengths` are what a forward pass of it takes, in tokens.

    `sequences` hold the rows' own tokens and outlive this; `references` has a line for each different pair.
    """

    def __init__(self, sequences: Sequences, *, are_compared: bool) -> None:
        self.are_compared = are_compared
        self._own, self._others = sequences, Sequences()
        self._firsts, self._seconds, self._good = array("q"), array("q"), bytearray()
        self._order = array("q")
        self.lengths: list[int] = []
        self.references: NDArray[np.float32] = np.zeros((0, 2), dtype=np.float32)

    def add_compared(self, first: int, second: int, times: int) -> None:
        """Two of the sequences, by place: the better and the worse answer."""
        self._add(first, second, is_good=True, times=times)

    def add_labelled(self, first: int, *, is_good: bool, times: int) -> None:
        """One of the sequences; `mismatch` puts another prompt's answer beside it."""
        self._add(first, -1, is_good=is_good, times=times)

    def _add(self, first: int, second: int, *, is_good: bool, times: int) -> None:
        self._firsts.append(first)
        self._seconds.append(second)
        self._good.append(is_good)
        self._order.extend([len(self._firsts) - 1] * times)

    def mismatch(self, max_length: int) -> int:
        """Put an answer to another prompt beside each labelled row: of the next rows the first that fits.

        Fixed for the whole run, so that the reference is measured once. Returns how many rows have none.
        """
        count, alone = len(self._firsts), 0
        for row in range(count):
            mine = self._own.stored(self._firsts[row])
            prompt = mine.ids[: mine.spans[0].start]
            for ahead in range(1, min(FARTHEST, count - 1) + 1):
                other = self._own.stored(self._firsts[(row + ahead) % count])
                start = other.spans[0].start
                answer = other.ids[start : other.spans[-1].end]
                if other.ids[:start] == prompt or len(prompt) + len(answer) > max_length:
                    continue
                moved = len(prompt) - start
                spans = tuple(Span(turn=s.turn, start=s.start + moved, end=s.end + moved) for s in other.spans)
                self._seconds[row] = self._others.add(Rendered(ids=prompt + answer, spans=spans, text=""))
                break
            else:
                alone += 1
        return alone

    def close(self) -> None:
        """After the last row: lengths, and room for the reference."""
        each = []
        for place in range(len(self._firsts)):
            pair = self._stored(place, (0.0, 0.0))
            longest = max(len(one.ids) for one in (pair.first, pair.second) if one is not None)
            each.append(2 * longest if self.are_compared else longest)
        self.lengths = [each[place] for place in self._order]
        self.references = np.zeros((len(self._firsts), 2), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.different(self._order[index])

    @property
    def size(self) -> int:
        """Of different pairs: lines of `references`."""
        return len(self._firsts)

    def different(self, place: int) -> Pair:
        better, worse = self.references[place].tolist() if len(self.references) else (0.0, 0.0)
        return self._stored(place, (better, worse))

    def _stored(self, place: int, reference: tuple[float, float]) -> Pair:
        second = self._seconds[place]
        kept = self._own if self.are_compared else self._others
        return Pair(
            first=self._own.stored(self._firsts[place]), second=kept.stored(second) if second >= 0 else None,
            is_good=bool(self._good[place]), reference=reference,
        )  # fmt: skip

    def sha256(self) -> bytes:
        """Of which sequences stand together, their labels and order; the sequences have their own."""
        found = sha256(self._others.sha256())
        for part in (self._firsts, self._seconds, self._good, self._order):
            found.update(len(part).to_bytes(8, "little"))
            found.update(part)
        return found.digest()
