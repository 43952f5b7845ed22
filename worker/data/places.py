"""Finds the row that a preview asks for in prepared rows: by number, or the longest, shortest, next over-long one."""

from dataclasses import dataclass
from pathlib import Path

from models.catalog.prepared import Prepared, PreparedRow
from models.domain.errors import Code, Invalid, NotFound
from models.domain.question import PreviewRow


@dataclass(frozen=True, kw_only=True)
class FoundPlace:
    """A row with the numbers of those beside it; `rows` in all; `problem` in words where it cannot be used."""

    row: PreparedRow
    rows: int
    before: int | None
    after: int | None

    @property
    def problem(self) -> str:
        field = f'"{self.row.field}" is ' if self.row.field else ""
        return f"{field}{self.row.found}; needed: {self.row.needed}."


def place_of(rows: Path, asked: PreviewRow, counts: Path | None) -> int:
    """The number of the row that is asked for; `counts` are those of stage 3, which a jump needs."""
    if asked.jump is None:
        return asked.row
    if counts is None:
        raise Invalid(
            "this jump needs the tokens of every row, which are not counted for this base yet. Count them first.",
            code=Code.INVALID_REQUEST,
            param="jump",
        )
    import pyarrow.parquet as pq

    table = pq.read_table(counts, columns=["number", "sequences", "tokens"])
    numbers, sequences, tokens = (table.column(name).to_numpy() for name in table.column_names)
    numbers, tokens = numbers[sequences > 0], tokens[sequences > 0]
    if asked.jump == "over":
        numbers = numbers[tokens > asked.max_length]
        if not len(numbers):
            raise NotFound(f"No row is longer than {asked.max_length:,} tokens.")
        behind = numbers[numbers > asked.row]
        return int(behind[0] if len(behind) else numbers[0])
    if not len(numbers):
        raise NotFound("This base cannot write any row of this version, so none is the longest.")
    return int(numbers[tokens.argmax() if asked.jump == "longest" else tokens.argmin()])


def row_at(rows: Path, number: int) -> FoundPlace:
    """The row of that number, the next one behind it, or the last. Blank lines leave gaps between numbers."""
    import pyarrow.parquet as pq

    numbers = pq.read_table(rows, columns=["number"]).column(0).to_numpy()
    if not len(numbers):
        raise NotFound("This version has no rows.")
    place = min(int(numbers.searchsorted(number)), len(numbers) - 1)
    row = Prepared(rows).row(int(numbers[place]))
    assert row is not None
    return FoundPlace(
        row=row,
        rows=len(numbers),
        before=int(numbers[place - 1]) if place else None,
        after=int(numbers[place + 1]) if place + 1 < len(numbers) else None,
    )
