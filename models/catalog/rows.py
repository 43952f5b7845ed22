"""Reads the rows of a JSONL or JSON-array stream; a row that cannot be read becomes a problem, never a crash.

Knows bytes and JSON and opens nothing; only `judged` asks a format. What trains and what is shown come from here alike.
Raises Invalid with code `invalid_file` for what is no such file at all.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from models.catalog.formats.base import Format, Problem
from models.domain.errors import Code, Invalid, TooLarge
from models.domain.example import Example

MOST_ROWS = 2_000_000
LARGEST_CELL_BYTES = 64 * 1024
LARGEST_ROW_BYTES = 8 * 1024 * 1024
DEEPEST = 64
LONGEST_NUMBER_DIGITS = 400
CHUNK_BYTES = 1024 * 1024

_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive or an Office file",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF file",
    b"GGUF": "a GGUF model",
    b"\x89PNG": "a picture",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
# A whole string, a bracket, a comma; or a quote whose string does not end in what has been read so far.
_PIECE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]|"', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Why one row cannot be used. `row` counts from 1: the line of a JSONL file, the element of an array."""

    row: int
    problem: Problem
    field: str
    found: str
    needed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its value, or why it has none. `position` is where in the file the next one begins."""

    number: int
    value: Any
    problem: RowProblem | None
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """The bytes of one row, not looked into yet; `decoded` does. `position` is where the next one begins."""

    number: int
    data: "bytes | _Unreadable"
    position: int


class _Unreadable(ValueError):
    """Raised inside JSON decoding, so that the reason survives it."""

    def __init__(self, problem: Problem, found: str, needed: str) -> None:
        super().__init__(found)
        self.problem, self.found, self.needed = problem, found, needed


def read_rows(file: BinaryIO) -> Iterator[Row]:
    """Every row that is not blank. Raises Invalid for an empty or foreign file, TooLarge above MOST_ROWS rows."""
    count = 0
    for raw in raw_rows(file):
        count += 1
        if count > MOST_ROWS:
            raise TooLarge(
                f"the file has more than {MOST_ROWS:,} rows; at most that many are read. Split the file.",
                code=Code.INVALID_FILE,
            )
        yield decoded(raw)
    if not count:
        raise _empty()


def raw_rows(file: BinaryIO, after: tuple[int, int] | None = None) -> Iterator[RawRow]:
    """The rows as bytes, without the cost of decoding them; `file` must be seekable.

    `after` is the (number, position) of a row read before: the reading goes on behind it. Raises Invalid for an empty
    or foreign file.
    """
    file.seek(0)
    beginning = file.read(CHUNK_BYTES)
    start = _check_beginning(beginning)
    is_array = beginning[start:].lstrip()[:1] == b"["
    number, position = after or (0, start)
    file.seek(position)
    if is_array:
        yield from _array_rows(file, number, position, is_inside=after is not None)
    else:
        yield from _line_rows(file, number)


def decoded(raw: RawRow) -> Row:
    """The value of a row, or why it has none."""
    if isinstance(raw.data, _Unreadable):
        return _broken(raw.number, raw.data, raw.position)
    return _row_of(raw.number, raw.data, raw.position)


def judged(row: Row, entry: Format) -> Example | RowProblem:
    """What the format makes of a row, or why it cannot."""
    if row.problem is not None:
        return row.problem
    try:
        return entry.parse(row.value)
    except Invalid as refusal:
        facts = refusal.facts
        return RowProblem(
            row=row.number,
            problem=Problem(facts["problem"]),
            field=facts["field"],
            found=facts["found"],
            needed=facts["needed"],
        )


def _check_beginning(beginning: bytes) -> int:
    """Where the text begins, after a UTF-8 byte order mark. Raises Invalid for what is no text."""
    for mark, kind in _BEGINNINGS.items():
        if beginning.startswith(mark):
            raise Invalid(
                f"the file is {kind}; training files are UTF-8 text, one JSON object a line (.jsonl) or one JSON array "
                "(.json). Convert it first.",
                code=Code.INVALID_FILE,
            )
    if not beginning:
        raise _empty()
    return len(codecs.BOM_UTF8) if beginning.startswith(codecs.BOM_UTF8) else 0


def _empty() -> Invalid:
    return Invalid("the file has no rows; a training file needs one JSON object a line.", code=Code.INVALID_FILE)


# -- one object a line ------------------------------------------------------------------------------------------


def _line_rows(file: BinaryIO, number: int) -> Iterator[RawRow]:
    while line := file.readline(LARGEST_ROW_BYTES + 1):
        number += 1
        if len(line) > LARGEST_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(CHUNK_BYTES)
            yield RawRow(number=number, data=_too_large_row(), position=file.tell())
        elif line.strip():
            yield RawRow(number=number, data=line, position=file.tell())


# -- one array of objects ---------------------------------------------------------------------------------------


def _array_rows(file: BinaryIO, number: int, position: int, *, is_inside: bool) -> Iterator[RawRow]:
    for element, after in _elements(file, position, is_inside=is_inside):
        number += 1
        yield RawRow(number=number, data=element, position=after)


def _elements(file: BinaryIO, position: int, *, is_inside: bool) -> Iterator[tuple[bytes | _Unreadable, int]]:
    """The bytes between the array's commas, found by counting brackets: a broken element leaves the next ones whole.

    Each with the position behind its comma. `position` is where `file` stands, `is_inside` the array already or before
    it. What ends the reading early (no closing bracket, a giant element, text after the array) comes last, as a reason.
    """
    buffer, scanned, depth = b"", 0, int(is_inside)
    while chunk := file.read(CHUNK_BYTES):
        buffer += chunk
        begin = 0
        for piece in _PIECE.finditer(buffer, scanned):
            scanned = piece.start()
            mark = piece.group()
            if mark == b'"':
                break  # its string goes on in the next chunk
            scanned = piece.end()
            if mark in (b"[", b"{"):
                depth += 1
                begin = scanned if depth == 1 else begin
            elif mark in (b"]", b"}"):
                depth -= 1
            if depth == 0 or (mark == b"," and depth == 1):
                element, begin = buffer[begin : piece.start()], scanned
                if depth or element.strip():  # blank before the end: an empty array, or one comma too many
                    yield element, position + (scanned if depth else piece.start())
            if depth == 0:
                if (buffer[scanned:] + file.read(CHUNK_BYTES)).strip():
                    fault = _Unreadable(Problem.NOT_JSON, "text after the end of the array", "one array, or lines")
                    yield fault, position + piece.start()
                return
        buffer, scanned, position = buffer[begin:], scanned - begin, position + begin
        if len(buffer) > LARGEST_ROW_BYTES:
            yield _too_large_row(), position
            return
    yield _Unreadable(Problem.NOT_JSON, "an array that does not end", 'a "]" after the last row'), position


def _row_of(number: int, data: bytes, position: int) -> Row:
    try:
        value = _decoded(data)
        _check_cells(value)
    except _Unreadable as reason:
        return _broken(number, reason, position)
    return Row(number=number, value=value, problem=None, position=position)


def _broken(number: int, reason: _Unreadable, position: int, field: str = "") -> Row:
    problem = RowProblem(row=number, problem=reason.problem, field=field, found=reason.found, needed=reason.needed)
    return Row(number=number, value=None, problem=problem, position=position)


def _decoded(data: bytes) -> Any:
    if b"\0" in data:
        raise _nul()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        found = f"the byte 0x{data[fault.start]:02x} at position {fault.start + 1}"
        raise _Unreadable(Problem.INVALID_UTF8, found, "UTF-8 text") from None
    return _loaded(text)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float, parse_int=_bounded_int)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as fault:
        found = f"{fault.msg} at character {fault.pos + 1}"
        raise _Unreadable(Problem.NOT_JSON, found, "one JSON object on one line") from None


def _refuse_constant(name: str) -> Any:
    raise _Unreadable(Problem.NOT_A_NUMBER, name, "a number that JSON knows, or null")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Unreadable(Problem.NOT_A_NUMBER, f"{text[:20]}, too large to hold", "a number below 1e308")
    return number


def _bounded_int(text: str) -> int:
    if len(text) > LONGEST_NUMBER_DIGITS:
        raise _Unreadable(Problem.HUGE_NUMBER, f"a number of {len(text)} digits", "a number of at most 400 digits")
    return int(text)


def _check_cells(value: Any) -> None:
    """Depth, and each text's size and characters. A loop, not recursion: the value may be deep."""
    waiting = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if depth > DEEPEST:
            raise _too_deep()
        if isinstance(each, dict):
            for key, inner in each.items():
                _check_text(key)
                waiting.append((inner, depth + 1))
        elif isinstance(each, list):
            waiting += [(inner, depth + 1) for inner in each]
        elif isinstance(each, str):
            _check_text(each)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _nul()
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as fault:
        found = f"half a character (\\u{ord(text[fault.start]):04x})"
        raise _Unreadable(Problem.INVALID_UTF8, found, "whole characters") from None
    if size > LARGEST_CELL_BYTES:
        raise _Unreadable(Problem.CELL_TOO_LARGE, f"a text of {size:,} bytes", "texts of at most 64 KB each")


def _nul() -> _Unreadable:
    return _Unreadable(Problem.NUL, "a NUL character", "text without NUL characters")


def _too_deep() -> _Unreadable:
    return _Unreadable(Problem.TOO_DEEP, f"nested deeper than {DEEPEST} levels", "flatter JSON")


def _too_large_row() -> _Unreadable:
    needed = "rows of at most 8 MB, texts of at most 64 KB each"
    return _Unreadable(Problem.CELL_TOO_LARGE, f"a row over {LARGEST_ROW_BYTES // 2**20} MB", needed)
