"""Says where a file of its own to validate with holds what is trained on. Takes nothing away on either side."""

from collections.abc import Iterator, Sequence

from models.catalog.findings import words_of
from models.domain.example import EXAMPLE, Example
from models.domain.training import SUPERVISED_KINDS
from worker.data.gate.overlap import overlap
from worker.data.source import ROWS, Source
from worker.train.parquet import columns_of


def overlap_remarks(training: Sequence[Source], validation: Source, rows: int) -> list[str]:
    """One sentence where some of the `rows` validation rows are equal, nearly equal or ask the same; else none."""
    findings = overlap((row for source in training for row in _rows(source)), _rows(validation))
    if not findings:
        return []
    count = sum(finding.count for finding in findings)
    kinds = ", ".join(f"{words_of(finding.kind).title} ({finding.count:,})" for finding in findings)
    first = findings[0].first[0]
    return [
        f"{count:,} of {rows:,} validation rows are met in the training data: {kinds}; first: row {first.row}: "
        f"{first.found}. They are measured all the same, but the loss on them shows memory."
    ]


def _rows(source: Source) -> Iterator[tuple[int, Example]]:
    for number, kind, example in columns_of(source.folder / ROWS, "number", "kind", "example"):
        if kind in SUPERVISED_KINDS:
            yield number, EXAMPLE.validate_json(example)
