"""Answers that seem to be cut off, as the limit of what wrote them leaves them. Knows lengths and last letters only.

The sign: the longest answers end in the middle of a sentence, and the shorter ones do not. One answer without a full
stop says nothing, nor do answers that never have one (lists, verse, languages without).
"""

from collections import Counter

SHORTEST = 100  # characters of the longest answer, under which nothing is said
BAND = 0.75  # of the longest: what a limit in another tokenizer's tokens leaves varies by about that
FEWEST, FEWEST_SHARE = 5, 0.02
OPEN_IN_BAND, OPEN_BELOW = 0.8, 0.3
SAME_LENGTH = 0.98
MOST_TEXTS = 100_000  # of which equal ones are told apart


class Answers:
    """Add every answer; then `cut` are the numbers of the rows that seem to be cut, in order, empty where none do."""

    def __init__(self) -> None:
        self._open, self._closed = Counter[int](), Counter[int]()
        self._rows: list[tuple[int, int]] = []  # (length, row) of long open ones
        self._seen: set[int] = set()

    def add(self, row: int, text: str) -> None:
        """An answer that was given before says nothing new."""
        text = text.rstrip()
        if not text or hash(text) in self._seen:
            return
        if len(self._seen) < MOST_TEXTS:
            self._seen.add(hash(text))
        if not _is_open(text):
            self._closed[len(text)] += 1
            return
        self._open[len(text)] += 1
        if len(text) >= SHORTEST * BAND:
            self._rows.append((len(text), row))

    @property
    def cut(self) -> list[int]:
        longest = max((*self._open, *self._closed), default=0)
        least = longest * BAND
        opened, closed = _at_least(self._open, least), _at_least(self._closed, least)
        below_open, below_closed = self._open.total() - opened, self._closed.total() - closed
        needed = max(FEWEST, FEWEST_SHARE * (self._open.total() + self._closed.total()))
        if longest < SHORTEST or opened < needed or opened < OPEN_IN_BAND * (opened + closed):
            return []
        below = below_open + below_closed
        is_one_length = _at_least(self._open, longest * SAME_LENGTH) >= OPEN_IN_BAND * opened
        if below_open > OPEN_BELOW * below if below >= FEWEST else not is_one_length:
            return []
        return sorted({row for length, row in self._rows if length >= least})


def _is_open(text: str) -> bool:
    """Ends in a letter, a comma or an opening bracket: not as a sentence, a list in code or a number does."""
    return text[-1].isalpha() or text[-1] in ",(["


def _at_least(lengths: Counter[int], least: float) -> int:
    return sum(count for length, count in lengths.items() if length >= least)
