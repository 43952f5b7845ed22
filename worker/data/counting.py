"""How many tokens rows become, as lists that cross a pipe. Runs in the sandbox's child; knows no file."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.domain.errors import Code, Invalid
from models.domain.example import EXAMPLE
from models.domain.training import OverLong, TrainOn
from worker.data.render import Renderer

NO_LIMIT = 2**31
BEAT_SECONDS = 0.1
REFUSALS = (Code.TEMPLATE, Code.MASK)

Counted = tuple[list[tuple[int, int]], list[tuple[str, str]], tuple[str, str, str] | None]
"""Of a row: (tokens, trained tokens) of each sequence; kind and words of each note; or kind, field and words of a
refusal."""


def count_rows(
    renderer: Renderer,
    rows: Sequence[str],
    train_on: TrainOn,
    arguments: Mapping[str, Any],
    beat: Callable[[], None],
    *,
    is_careful: bool,
) -> list[Counted]:
    """`rows` are examples as they write themselves. `beat` is called now and then between rows; `is_careful`: before
    each, so that whoever ends us knows which row it was."""
    counted: list[Counted] = []
    beaten_at = time.monotonic()
    for row in rows:
        if is_careful or time.monotonic() - beaten_at >= BEAT_SECONDS:
            beat()
            beaten_at = time.monotonic()
        counted.append(_counted(renderer, row, train_on, arguments))
    return counted


def _counted(renderer: Renderer, row: str, train_on: TrainOn, arguments: Mapping[str, Any]) -> Counted:
    try:
        written = renderer.write(EXAMPLE.validate_json(row), train_on, NO_LIMIT, OverLong.DROP, arguments)
    except Invalid as refusal:
        if refusal.code not in REFUSALS:
            raise
        return [], [], (str(refusal.facts["kind"]), str(refusal.facts.get("param", "")), refusal.message)
    except MemoryError:
        return [], [], ("too_slow", "", "the base's chat template needs more memory for this row than it is given.")
    notes: dict[str, str] = {}
    for each in written:
        notes |= dict(zip(each.sequence.note_kinds, each.sequence.notes, strict=True))
    return [(len(each.sequence.ids), each.sequence.trained_tokens) for each in written], list(notes.items()), None
