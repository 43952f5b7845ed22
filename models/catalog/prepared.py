"""Prepared rows: a version's rows as they were understood, as one Parquet file. What trains and what is shown is this.

One line per row of the version, usable or not, in order. Knows Parquet; opens what it is given. pyarrow
is loaded when the first file is opened: the web process starts without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from models.catalog.formats.base import Problem
from models.domain.example import EXAMPLE, Example
from models.domain.reports import FoundRow

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

ROWS_PER_GROUP = 5000
CHARACTERS_PER_GROUP = 8 * 1024 * 1024
SHOWN_RAW_CHARACTERS = 4000
COLUMNS = {
    "number": "int64",
    "kind": "string",  # of the example; null where the row cannot be used
    "example": "string",  # as Example writes itself, defaults left out
    "sha": "binary",  # 16 bytes of BLAKE2b of `example`: equal rows have equal ones
    "columns": "string",  # a JSON object of short scalar columns that the format did not read, or null
    "problem": "string",
    "field": "string",
    "found": "string",
    "needed": "string",
    "raw": "string",  # the beginning of an unusable row as it stands in the file
}


# Looking for repetition in long texts costs a third of the time and finds none.
_WRITTEN: dict[str, Any] = {
    "use_dictionary": ["kind", "problem", "field", "needed"],
    "write_statistics": ["number"],
}


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
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([(name, _type(kind)) for name, kind in COLUMNS.items()])
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", **_WRITTEN)  # fmt: skip
        self._waiting: list[tuple[Any, ...]] = []
        self._waiting_characters = 0

    def add_example(self, number: int, example: Example, columns: str | None = None) -> None:
        text = example.model_dump_json(exclude_defaults=True)
        text = f'{{"kind":"{example.kind}",{text[1:]}'  # a default too, and what tells examples apart
        sha = blake2b(text.encode(), digest_size=16).digest()
        self._waiting.append((number, example.kind, text, sha, columns, None, None, None, None, None))
        self._waited(len(text))

    def add_problem(self, number: int, problem: Problem, *, field: str, found: str, needed: str, raw: str) -> None:
        raw = raw[:SHOWN_RAW_CHARACTERS]
        self._waiting.append((number, None, None, None, None, str(problem), field, found, needed, raw))
        self._waited(len(raw))

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _waited(self, characters: int) -> None:
        self._waiting_characters += characters
        if len(self._waiting) >= ROWS_PER_GROUP or self._waiting_characters >= CHARACTERS_PER_GROUP:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if self._waiting:
            values = zip(*self._waiting, strict=True)
            columns = [pa.array(each, field.type) for each, field in zip(values, self._schema, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._waiting, self._waiting_characters = [], 0


class Prepared:
    """Reads prepared rows; `source` is a path or a seekable file. May be used by one thread at a time.

    `metadata` of an earlier reading of the same bytes saves reading it again.
    """

    def __init__(self, source: Path | BinaryIO, metadata: "FileMetaData | None" = None) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(source, metadata=metadata)
        self.metadata = self._file.metadata

    @property
    def rows(self) -> int:
        return self.metadata.num_rows

    def read(self, begin: int, limit: int) -> list[PreparedRow]:
        """At most `limit` rows from place `begin` on (from 0): places, not row numbers, which blank lines interrupt."""
        found: list[PreparedRow] = []
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self.metadata.row_group(group).num_rows
            if first + rows > begin and len(found) < limit:
                start = max(0, begin - first)
                table = self._file.read_row_group(group).slice(start, limit - len(found))
                found += [prepared_row(each) for each in table.to_pylist()]
            first += rows
        return found

    def row(self, number: int) -> PreparedRow | None:
        """The row of that number, or the next one behind it; None behind the last."""
        for group in self.groups_from(number):
            for values in self.group(group):
                if values["number"] >= number:
                    return prepared_row(values)
        return None

    def groups_from(self, number: int) -> Iterator[int]:
        """The parts of the file that hold rows of this number or a later one, in order."""
        for group in range(self._file.num_row_groups):
            if self.metadata.row_group(group).column(0).statistics.max >= number:
                yield group

    def group(self, group: int) -> list[dict[str, Any]]:
        """One part's rows as values by the names of COLUMNS; `prepared_row` makes a row of one."""
        return self._file.read_row_group(group).to_pylist()

    def examples(self) -> Iterator[tuple[int, Example]]:
        """The usable rows with their numbers."""
        for number, text in self.texts():
            yield number, EXAMPLE.validate_json(text)

    def texts(self) -> Iterator[tuple[int, str]]:
        """`examples`, as they are written."""
        for batch in self._file.iter_batches(columns=["number", "example"], batch_size=1000):
            numbers, examples = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            for number, text in zip(numbers, examples, strict=True):
                if text is not None:
                    yield number, text

    def group_columns(self, group: int, *names: str) -> list[list[Any]]:
        """The named columns of one part; only those are read."""
        table = self._file.read_row_group(group, columns=list(names))
        return [table.column(name).to_pylist() for name in names]

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The named columns of all rows, row by row; only those are read."""
        for batch in self._file.iter_batches(columns=list(names), batch_size=1000):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)

    def problems(self) -> Iterator[FoundRow]:
        """Why the other rows cannot be used, in order."""
        columns = ["number", "problem", "field", "found", "needed"]
        for batch in self._file.iter_batches(columns=columns, batch_size=1000):
            for row in batch.to_pylist():
                if row["problem"] is not None:
                    yield FoundRow(row=row["number"], field=row["field"], found=row["found"], needed=row["needed"])


def prepared_row(row: dict[str, Any]) -> PreparedRow:
    """A row of its values by name."""
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


def _type(name: str) -> Any:
    import pyarrow as pa

    return pa.binary(16) if name == "binary" else pa.type_for_alias(name)
