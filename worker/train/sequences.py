"""The sequences of a training, kept small: four bytes a token, where lists of Python numbers take thirty-six."""

from array import array
from collections.abc import Sequence
from hashlib import sha256
from typing import overload

from worker.data.render import Rendered, Span


class Sequences(Sequence[Rendered]):
    """Rendered rows, each as often as it is seen in an epoch. Gives them back without their texts and notes."""

    def __init__(self) -> None:
        self._ids, self._ends = array("i"), array("q", [0])
        self._spans, self._span_ends = array("i"), array("q", [0])  # turn, start and end of each span
        self._order = array("q")
        self.lengths: list[int] = []  # tokens, in the order of the sequences here

    def add(self, rendered: Rendered, times: int = 1) -> int:
        """Returns its place among the different ones, for `stored`."""
        self._ids.extend(rendered.ids)
        self._ends.append(len(self._ids))
        for span in rendered.spans:
            self._spans.extend((span.turn, span.start, span.end))
        self._span_ends.append(len(self._spans))
        place, length = len(self._ends) - 2, len(rendered.ids)
        for _ in range(times):
            self._order.append(place)
            self.lengths.append(length)
        return place

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Rendered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rendered]: ...
    def __getitem__(self, index: int | slice) -> Rendered | list[Rendered]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.stored(self._order[index])

    def stored(self, place: int) -> Rendered:
        """One of the different sequences, in the order they were added."""
        spans = self._spans[self._span_ends[place] : self._span_ends[place + 1]].tolist()
        return Rendered(
            ids=self._ids[self._ends[place] : self._ends[place + 1]].tolist(),
            spans=tuple(
                Span(turn=turn, start=start, end=end)
                for turn, start, end in zip(spans[::3], spans[1::3], spans[2::3], strict=True)
            ),
            text="",
        )

    @property
    def tokens(self) -> int:
        """Of one epoch."""
        return sum(self.lengths)

    @property
    def used_tokens(self) -> list[int]:
        """Every token id that occurs, once."""
        return sorted(set(self._ids))

    @property
    def shortest(self) -> Rendered:
        return self[min(range(len(self)), key=self.lengths.__getitem__)]

    def sha256(self) -> bytes:
        """Of every token, every span and the order."""
        found = sha256()
        for part in (self._ids, self._ends, self._spans, self._span_ends, self._order):
            found.update(len(part).to_bytes(8, "little"))
            found.update(part)
        return found.digest()
