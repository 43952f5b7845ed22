"""Which format rows are in, as the check of an upload finds it."""

from collections.abc import Iterable, Mapping
from typing import Any

from worker.data.shapes import Shapes


def detect(rows: Iterable[Mapping[str, Any]]) -> tuple[str | None, float]:
    """The likeliest format of plain rows and its mean confidence over them; (None, 0.0) where none knows any."""
    shapes = Shapes(frozenset())
    for row in rows:
        shapes.add(row, row)
    return next(iter(shapes.formats()), (None, 0.0))
