"""Says where rows to validate with, of a file of their own or held back, are met in what is trained on.

Takes nothing away on either side.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from models.catalog.findings import words_of
from models.domain.example import EXAMPLE, Example
from models.domain.objectives import KINDS_OF, Objective
from worker.data.gate.overlap import overlap
from worker.data.source import ROWS, Source
from worker.train.parquet import columns_of
from worker.train.rows import Selection

SUPERVISED = KINDS_OF[Objective.SUPERVISED]
MOST_COMPARED = 10_000
WORTH_SAYING = 0.1  # of the rows held back


def overlap_remarks(
    training: Sequence[Source], validation: Source, rows: int, kinds: Sequence[str] = SUPERVISED
) -> list[str]:
    """One sentence where some of the `rows` validation rows are equal, nearly equal or ask the same; else none."""
    findings = overlap((row for source in training for row in _rows(source, kinds)), _rows(validation, kinds))
    if not findings:
        return []
    count = sum(finding.count for finding in findings)
    kinds = ", ".join(f"{words_of(finding.kind).title} ({finding.count:,})" for finding in findings)
    first = findings[0].first[0]
    return [
        f"{count:,} of {rows:,} validation rows are met in the training data: {kinds}; first: row {first.row}: "
        f"{first.found}. They are measured all the same, but the loss on them shows memory."
    ]


def split_remarks(
    sources: Sequence[Source], selections: Sequence[Selection], kinds: Sequence[str] = SUPERVISED
) -> list[str]:
    """One sentence where held-back rows stand nearly word for word in what is trained on; groups go by the question.

    Looks at the first MOST_COMPARED rows to train on: minutes for a million rows would be too much for a warning.
    """
    pairs = list(zip(sources, selections, strict=True))
    held = sum(int(one.is_held_back.sum()) for one in selections)
    if not held:
        return []
    trained = islice((row for each in pairs for row in _chosen(*each, kinds, is_held_back=False)), MOST_COMPARED)
    findings = overlap(trained, (row for each in pairs for row in _chosen(*each, kinds, is_held_back=True)))
    count = sum(finding.count for finding in findings)
    if count < WORTH_SAYING * held:
        return []
    first = findings[0].first[0]
    return [
        f"{count:,} of {held:,} rows held back stand nearly word for word in what is trained on; first: row "
        f"{first.row}: {first.found}. The loss on them shows memory. Keep rows together that are nearly the same."
    ]


def _chosen(
    source: Source, selection: Selection, kinds: Sequence[str], *, is_held_back: bool
) -> Iterator[tuple[int, Example]]:
    """The rows of one side. A selection counts the usable rows of these kinds, as `_written` gives them."""
    flags = selection.is_held_back if is_held_back else selection.times > 0
    written = zip(_written(source, kinds), flags, strict=True)
    return ((number, EXAMPLE.validate_json(example)) for (number, example), is_chosen in written if is_chosen)


def _rows(source: Source, kinds: Sequence[str]) -> Iterator[tuple[int, Example]]:
    return ((number, EXAMPLE.validate_json(example)) for number, example in _written(source, kinds))


def _written(source: Source, kinds: Sequence[str]) -> Iterator[tuple[int, str]]:
    for number, kind, example in columns_of(source.folder / ROWS, "number", "kind", "example"):
        if kind in kinds:
            yield number, example
