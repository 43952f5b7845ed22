"""A row as training gets it, token by token, for people. Uses the renderer that training uses; knows no file."""

from collections.abc import Mapping
from typing import Any

from models.domain.errors import Code, Invalid
from models.domain.example import Example
from models.domain.preview import Piece, RowPreview, SeenSequence
from models.domain.training import OverLong, TrainOn
from worker.data.render import Renderer
from worker.data.rendered import Written

MOST_PIECES = 20_000  # of a row, in all its sequences: about what a page can show
REFUSALS = (Code.TEMPLATE, Code.MASK)


def preview(
    renderer: Renderer,
    example: Example,
    *,
    row: int,
    rows: int,
    max_length: int,
    over_long: OverLong = OverLong.DROP,
    train_on: TrainOn = TrainOn.ASSISTANT,
    template_arguments: Mapping[str, Any] | None = None,
) -> RowPreview:
    """`renderer` shows texts. A row that this base cannot write has the refusal's kind and words instead."""
    as_written = {"kind": example.kind, **example.model_dump(mode="json", exclude_defaults=True)}
    shown = RowPreview(row=row, rows=rows, example=as_written, notes=renderer.notes)
    try:
        written = renderer.write(example, train_on, max_length, over_long, template_arguments)
    except Invalid as refusal:
        if refusal.code not in REFUSALS:
            raise
        return shown.model_copy(update={"kind": refusal.facts.get("kind"), "problem": refusal.message})
    notes = [*renderer.notes, *dict.fromkeys(note for each in written for note in each.sequence.notes)]
    sequences: list[SeenSequence] = []
    left = MOST_PIECES
    for each in written:
        sequences.append(_seen(each, renderer.special_token_ids, left))
        left -= len(sequences[-1].pieces)
    if sum(len(each.sequence.ids) for each in written) > MOST_PIECES:
        notes.append(f"only the first {MOST_PIECES:,} tokens of this row are shown.")
    return shown.model_copy(update={"sequences": tuple(sequences), "notes": tuple(notes)})


def _seen(written: Written, special: frozenset[int], most: int) -> SeenSequence:
    sequence = written.sequence
    ids, trained = sequence.ids[:most], sequence.trained
    pieces = [
        Piece(text=text, id=token_id, trained=trained[place], special=token_id in special)
        for place, (token_id, text) in enumerate(zip(ids, sequence.texts[:most], strict=True))
    ]
    return SeenSequence(
        label=written.label, pieces=tuple(pieces), tokens=len(sequence.ids), trained_tokens=sequence.trained_tokens,
        is_used=written.is_used,
    )  # fmt: skip
