"""One row of an uploaded file: its value or why it has none, the limits that it keeps, and what a format makes of it.

Knows no files. Containers (`models.catalog.containers`) yield rows; what trains and what is shown come from here alike.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from models.catalog.formats.base import Format, Problem
from models.domain.errors import Invalid
from models.domain.example import Example

MOST_ROWS = 2_000_000  # of one version
LARGEST_CELL_BYTES = 64 * 1024
LARGEST_ROW_BYTES = 8 * 1024 * 1024
DEEPEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Why one row cannot be used. `row` counts from 1 over all files of the version."""

    row: int
    problem: Problem
    field: str
    found: str
    needed: str


class Unreadable(ValueError):
    """Raised while a row is read, so that the reason survives the reading."""

    def __init__(self, problem: Problem, found: str, needed: str, field: str = "") -> None:
        super().__init__(found)
        self.problem, self.found, self.needed, self.field = problem, found, needed, field

    def of_row(self, number: int) -> RowProblem:
        return RowProblem(row=number, problem=self.problem, field=self.field, found=self.found, needed=self.needed)


class Row(NamedTuple):
    """`number` counts from 1 in its file. `raw` is the row as it stands there; None: only its value can be shown."""

    number: int
    value: Any
    problem: Unreadable | None
    raw: bytes | str | None


def judged(row: Any, number: int, entry: Format) -> Example | RowProblem:
    """What the format makes of a row's value, or why it cannot."""
    try:
        return entry.parse(row)
    except Invalid as refusal:
        facts = refusal.facts
        return RowProblem(
            row=number,
            problem=Problem(facts["problem"]),
            field=facts["field"],
            found=facts["found"],
            needed=facts["needed"],
        )


def check_cells(value: Any, field: str = "") -> None:
    """Depth, and each text's size and characters; raises Unreadable. A loop, not recursion: the value may be deep."""
    waiting = [([value], 0)]
    while waiting:
        values, depth = waiting.pop()
        if depth >= DEEPEST and values:
            raise too_deep(field)
        for each in values:
            kind = type(each)
            if kind is str:
                check_text(each, field)
            elif kind is dict:
                for key in each:
                    check_text(key, field)
                waiting.append((each.values(), depth + 1))
            elif kind is list:
                waiting.append((each, depth + 1))


def check_text(text: str, field: str = "") -> None:
    if "\0" in text:
        raise nul(field)
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError as fault:
            found = f"half a character (\\u{ord(text[fault.start]):04x})"
            raise Unreadable(Problem.INVALID_UTF8, found, "whole characters", field) from None
    if size > LARGEST_CELL_BYTES:
        raise Unreadable(Problem.CELL_TOO_LARGE, f"a text of {size:,} bytes", "texts of at most 64 KB each", field)


def nul(field: str = "") -> Unreadable:
    return Unreadable(Problem.NUL, "a NUL character", "text without NUL characters", field)


def too_deep(field: str = "") -> Unreadable:
    return Unreadable(Problem.TOO_DEEP, f"nested deeper than {DEEPEST} levels", "flatter JSON", field)


def too_large_row() -> Unreadable:
    needed = "rows of at most 8 MB, texts of at most 64 KB each"
    return Unreadable(Problem.CELL_TOO_LARGE, f"a row over {LARGEST_ROW_BYTES // 2**20} MB", needed)
