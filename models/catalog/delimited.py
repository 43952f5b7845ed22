"""Tables as text, comma or tab between the cells: the reading that CSV and TSV share. Every value is a text.

A record with more or fewer cells than the header, a quote that does not end or a byte that is no UTF-8 is that record's
problem, never a crash.
"""

import csv
from collections.abc import Callable, Iterator
from typing import BinaryIO

from models.catalog.containers.base import CHUNK_BYTES, PARQUET_MARK, no_rows, text_start
from models.catalog.formats.base import Problem
from models.catalog.rows import LARGEST_ROW_BYTES, Row, Unreadable, check_cells, too_large_row
from models.domain.errors import Code, Invalid

MOST_COLUMNS = 1000
SHOWN_CHARACTERS = 16_000


def fits_table(beginning: bytes) -> bool:
    return not beginning.startswith(PARQUET_MARK) and not text_start(beginning).startswith((b"{", b"["))


def table_reader(delimiter: str) -> Callable[[BinaryIO], Iterator[Row]]:
    """A reader for `Container.read`. A row is numbered by its record after the header; empty lines are no records."""

    def read(file: BinaryIO) -> Iterator[Row]:
        csv.field_size_limit(LARGEST_ROW_BYTES)
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        lines = _Lines(file)
        between = ";" if delimiter == "," and _is_semicolons(lines.peeked()) else delimiter
        records = csv.reader(lines, delimiter=between, strict=True)
        header = _header(records, lines)
        number = 0
        while True:
            lines.begin_record()
            try:
                cells = next(records)
            except StopIteration:
                return
            except Unreadable as reason:
                number += 1
                yield Row(number, None, reason, lines.record())
                continue
            except csv.Error as fault:
                number += 1
                yield Row(number, None, _broken_record(str(fault)), lines.record())
                continue
            if not cells:
                continue
            number += 1
            reason = _fault(cells, header)
            if reason is None:
                yield Row(number, dict(zip(header, cells, strict=True)), None, None)
            else:
                yield Row(number, None, reason, lines.record())

    return read


class _Lines:
    """Decoded lines for `csv.reader`, with a limit on what one record may hold. Bytes that are no UTF-8 stay marked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead: bytes | None = None
        self._size = 0
        self._beginning = ""

    def peeked(self) -> bytes:
        self._ahead = self._file.readline(LARGEST_ROW_BYTES + 1)
        return self._ahead

    def begin_record(self) -> None:
        self._size, self._beginning = 0, ""

    def record(self) -> str:
        """The beginning of the record as it stands in the file."""
        return self._beginning.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line, self._ahead = self._ahead, None
        if line is None:
            line = self._file.readline(LARGEST_ROW_BYTES + 1)
        if not line:
            raise StopIteration
        self._size += len(line)
        text = line[:CHUNK_BYTES].decode("utf-8", "surrogateescape")
        if len(self._beginning) < SHOWN_CHARACTERS:
            self._beginning += text[:SHOWN_CHARACTERS]
        if self._size > LARGEST_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = self._file.readline(CHUNK_BYTES)
            raise too_large_row()
        return text if len(line) <= CHUNK_BYTES else line.decode("utf-8", "surrogateescape")


def _is_semicolons(line: bytes) -> bool:
    """Spreadsheets of many countries write ";" where others write ","."""
    return b";" in line and b"," not in line


def _header(records: Iterator[list[str]], lines: _Lines) -> list[str]:
    """The names of the columns. Raises Invalid where the first record cannot name them."""
    lines.begin_record()
    try:
        cells = next((cells for cells in records if cells), None)
    except (Unreadable, csv.Error) as fault:
        raise _no_header(str(fault)) from None
    if cells is None:
        raise no_rows()
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1)]
    if len(names) > MOST_COLUMNS:
        raise _no_header(f"{len(names):,} columns")
    try:
        check_cells(names)
    except Unreadable as reason:
        is_utf8 = reason.problem is not Problem.INVALID_UTF8
        raise _no_header(reason.found if is_utf8 else "bytes that are no UTF-8 text") from None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _no_header(f'two columns named "{twice[:60]}"')
    return names


def _fault(cells: list[str], header: list[str]) -> Unreadable | None:
    if len(cells) != len(header):
        return Unreadable(
            Problem.RAGGED_ROW,
            f"{len(cells)} cells",
            f"{len(header)}, as in the header; quote a cell with the mark in it",
        )
    try:
        check_cells(cells)
    except Unreadable as reason:
        if reason.problem is Problem.INVALID_UTF8:
            return _not_utf8(cells)
        return reason
    return None


def _not_utf8(cells: list[str]) -> Unreadable:
    """Where: the byte, as the header's check of JSON lines says it."""
    for cell in cells:
        for place, char in enumerate(cell):
            if "\udc80" <= char <= "\udcff":
                found = f"the byte 0x{ord(char) - 0xDC00:02x} at position {place + 1} of a cell"
                return Unreadable(Problem.INVALID_UTF8, found, "UTF-8 text")
    return Unreadable(Problem.INVALID_UTF8, "half a character", "UTF-8 text")


def _broken_record(said: str) -> Unreadable:
    found = "a quote that does not end" if "end of data" in said else said[:80]
    return Unreadable(Problem.RAGGED_ROW, found, 'cells in plain text, or in quotes with "" for a quote')


def _no_header(found: str) -> Invalid:
    return Invalid(
        f"the first line of the table must name its columns, and it holds {found}. Correct it and upload the file "
        "again.",
        code=Code.INVALID_FILE,
    )
