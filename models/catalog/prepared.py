"""Prepared rows: a version's rows as they were understood, as one Parquet file. What trains and what is shown is this.

One line per row of the version, usable or not, in order. Knows Parquet; opens what it is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from models.catalog.formats.base import Problem
from models.domain.example import EXAMPLE, Example
from models.domain.reports import FoundRow

ROWS_PER_GROUP = 5000
SHOWN_RAW_CHARACTERS = 4000
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("kind", pa.string()),  # of the example; null where the row cannot be used
        ("example", pa.string()),  # as Example writes itself, defaults left out
        ("sha", pa.binary(16)),  # BLAKE2b of `example`: equal rows have equal ones
        ("columns", pa.string()),  # a JSON object of short scalar columns that the format did not read, or null
        ("problem", pa.string()),
        ("field", pa.string()),
        ("found", pa.string()),
        ("needed", pa.string()),
        ("raw", pa.string()),  # the beginning of an unusable row as it stands in the file
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRow:
    """One row: an example, or the problem that it has. `sha` is 16 bytes, only of examples."""

    number: int
    example: Example | None
    sha: bytes | None
    columns: str | None
    problem: Problem | None
    field: str
    found: str
    needed: str
    raw: str


class PreparedWriter:
    """Writes rows in order; `close` ends the file. Equal rows give equal bytes."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._waiting: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}

    def add_example(self, number: int, example: Example, columns: str | None = None) -> None:
        text = example.model_dump_json(exclude_defaults=True)
        text = text[:1] + f'"kind":"{example.kind}",' + text[1:]  # a default too, and what tells examples apart
        self._add(
            number=number, kind=example.kind, example=text, sha=blake2b(text.encode(), digest_size=16).digest(),
            columns=columns,
        )  # fmt: skip

    def add_problem(self, number: int, problem: Problem, *, field: str, found: str, needed: str, raw: str) -> None:
        self._add(
            number=number, problem=str(problem), field=field, found=found, needed=needed,
            raw=raw[:SHOWN_RAW_CHARACTERS],
        )  # fmt: skip

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _add(self, **values: Any) -> None:
        for name, waiting in self._waiting.items():
            waiting.append(values.get(name))
        if len(self._waiting["number"]) >= ROWS_PER_GROUP:
            self._write()

    def _write(self) -> None:
        if self._waiting["number"]:
            self._writer.write_table(pa.table(self._waiting, schema=SCHEMA))
        self._waiting = {name: [] for name in SCHEMA.names}


class Prepared:
    """Reads prepared rows; `source` is a path or a seekable file. May be used by one thread at a time."""

    def __init__(self, source: Path | BinaryIO) -> None:
        self._file = pq.ParquetFile(source)

    @property
    def rows(self) -> int:
        return self._file.metadata.num_rows

    def read(self, begin: int, limit: int) -> list[PreparedRow]:
        """At most `limit` rows from place `begin` on (from 0): places, not row numbers, which blank lines interrupt."""
        found: list[PreparedRow] = []
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if first + rows > begin and len(found) < limit:
                table = self._file.read_row_group(group)
                start = max(0, begin - first)
                found += [_row(each) for each in table.slice(start, limit - len(found)).to_pylist()]
            first += rows
        return found

    def examples(self) -> Iterator[tuple[int, Example]]:
        """The usable rows with their numbers."""
        for batch in self._file.iter_batches(columns=["number", "example"], batch_size=1000):
            numbers, examples = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            for number, text in zip(numbers, examples, strict=True):
                if text is not None:
                    yield number, EXAMPLE.validate_json(text)

    def problems(self) -> Iterator[FoundRow]:
        """Why the other rows cannot be used, in order."""
        columns = ["number", "problem", "field", "found", "needed"]
        for batch in self._file.iter_batches(columns=columns, batch_size=1000):
            for row in batch.to_pylist():
                if row["problem"] is not None:
                    yield FoundRow(row=row["number"], field=row["field"], found=row["found"], needed=row["needed"])


def _row(row: dict[str, Any]) -> PreparedRow:
    text, problem = row["example"], row["problem"]
    return PreparedRow(
        number=row["number"],
        example=None if text is None else EXAMPLE.validate_json(text),
        sha=row["sha"],
        columns=row["columns"],
        problem=None if problem is None else Problem(problem),
        field=row["field"] or "",
        found=row["found"] or "",
        needed=row["needed"] or "",
        raw=row["raw"] or "",
    )
