"""The first rows of uploaded files, as columns and as what they become: `python -P -m worker.data.peek`.

A process of its own, because it reads what strangers made: it bounds its memory and its time and has nothing to lose.
In on stdin: {"files": [[name, path], ...], "format", "mapping", "rows"}. Out on stdout: ColumnsSeen, or {"error"} as
AppError writes itself; any other end is a file that cannot be read.
"""

import json
import os
import resource
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from models.catalog.formats import FORMATS
from models.catalog.mapping import in_columns
from models.catalog.rows import RowProblem, judged
from models.domain.errors import AppError
from models.domain.preview import ColumnsSeen, MappedRow
from models.domain.reading import Reading
from worker.data.intake import check_format, first_of, shown_raw
from worker.data.memory import POOL
from worker.data.shapes import MOST_COLUMNS, Shapes
from worker.data.version_rows import Files, RowRead, VersionRows

MEMORY_BYTES = 1024**3
CPU_SECONDS = 5
SHOWN_CELL_CHARACTERS = 200
SHOWN_CELLS = 50
RAW = ""  # under this name stands a row that has no columns


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    os.environ[POOL] = "system"  # the others take address space ahead, which is bounded here
    asked = json.load(sys.stdin)
    files = [(name, Path(path)) for name, path in asked["files"]]
    try:
        reading = Reading(format=asked.get("format"), mapping=asked.get("mapping") or {})
        said = peek(files, reading, asked.get("rows") or 3).model_dump(mode="json")
    except AppError as refusal:
        said = {"error": refusal.to_json()}
    json.dump(said, sys.stdout)


def peek(files: Files, reading: Reading, shown: int) -> ColumnsSeen:
    """Columns and format of the first rows of all, and the first `shown` of them. Raises Invalid as `prepare` does."""
    check_format(reading.format)
    whole = VersionRows(files, reading)
    first: list[RowRead] = []
    shapes = Shapes(frozenset())
    for read in first_of(whole):
        if len(first) < shown:
            first.append(read)
        if read.row.problem is None:
            shapes.add(read.row.value, read.understood)
    ranking = shapes.formats()
    name = reading.format or (ranking[0][0] if ranking else None)
    return ColumnsSeen(
        container=", ".join(whole.containers),
        columns=tuple(column.name for column in shapes.columns()[:MOST_COLUMNS]),
        format=name,
        rows=tuple(_mapped_row(read, name, reading.mapping) for read in first),
    )


def _mapped_row(read: RowRead, name: str | None, mapping: dict[str, str]) -> MappedRow:
    row = read.row
    cells = {RAW: shown_raw(row)[:SHOWN_CELL_CHARACTERS]}
    if isinstance(row.value, dict):
        cells = {str(column): _short(value) for column, value in islice(row.value.items(), SHOWN_CELLS)}
    example, problem = None, row.problem.of_row(row.number) if row.problem else None
    if problem is None and name is not None:
        outcome = judged(read.understood, row.number, FORMATS[name])
        if isinstance(outcome, RowProblem):
            problem = outcome
        else:
            example = outcome.model_dump(mode="json", exclude_defaults=True) | {"kind": outcome.kind}
    return MappedRow(row=row.number, cells=cells, example=example, problem=_said(problem, mapping))


def _said(problem: RowProblem | None, mapping: dict[str, str]) -> str | None:
    if problem is None:
        return None
    where = f'"{in_columns(problem.field, mapping)}" is ' if problem.field else ""
    return f"{where}{problem.found}; needed: {problem.needed}."


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CELL_CHARACTERS else text[: SHOWN_CELL_CHARACTERS - 1] + "…"


if __name__ == "__main__":
    main()
