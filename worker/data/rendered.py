"""A row as token ids with its loss mask: what training takes and what people are shown. Knows no tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from worker.data.tokens import Encoded

FEWEST_TOKENS = 2  # the first token of a sequence is never trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A trained stretch: token positions start to end (end excluded), and which turn of the row it answers."""

    turn: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One sequence to train on. `notes` are sentences for people about this row, `note_kinds` their kinds.

    `texts`: each token's own text, from a renderer that shows them; joined they are `text`.
    """

    ids: list[int]
    spans: tuple[Span, ...]
    text: str
    notes: tuple[str, ...] = ()
    note_kinds: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def trained(self) -> list[bool]:
        """For each token, whether predicting it counts in the loss. The first token never does."""
        mask = [False] * len(self.ids)
        for span in self.spans:
            mask[span.start : span.end] = [True] * (span.end - span.start)
        return mask

    @property
    def trained_tokens(self) -> int:
        return sum(span.end - span.start for span in self.spans)

    def noted(self, kind: str, text: str) -> "Rendered":
        if kind in self.note_kinds:
            return self
        return replace(self, notes=(*self.notes, text), note_kinds=(*self.note_kinds, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A sequence of a row and what it is of several: "", "answer 2", "part 3", "chosen", "rejected".

    `is_used` False: it is longer than the maximum, and training leaves it out.
    """

    label: str
    sequence: Rendered
    is_used: bool


def stretch(encoded: Encoded, text: str) -> Rendered:
    """A sequence of which every token after the first is trained."""
    span = Span(turn=0, start=1, end=len(encoded.ids))
    return Rendered(ids=encoded.ids, spans=(span,), text=text, texts=tuple(encoded.texts))


def parts_of(whole: Rendered, max_length: int, decode: Callable[[list[int]], str]) -> list[Written]:
    """A text in consecutive parts, each of `max_length` tokens but the last, which has two at least."""
    count = len(whole.ids)
    cuts = [*range(0, count, max_length), count]
    if cuts[-1] - cuts[-2] < FEWEST_TOKENS:
        cuts[-2] -= 1  # a last token alone, the EOS, would never be trained
    encoded, note = Encoded(whole.ids, list(whole.texts)), f"the text is split to fit {max_length} tokens."
    parts: list[Written] = []
    for number, (start, end) in enumerate(pairwise(cuts), start=1):
        part = encoded.part(start, end)
        text = "".join(part.texts) if part.texts else decode(part.ids)
        sequence = replace(stretch(part, text), notes=whole.notes, note_kinds=whole.note_kinds)
        sequence = sequence.noted("text_split", note)
        parts.append(Written(label=f"part {number}", sequence=sequence, is_used=True))
    return parts
