"""One JSON array of objects, read element by element: a broken element leaves the next ones whole."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from models.catalog.containers.base import CHUNK_BYTES, PARQUET_MARK, Container, text_start
from models.catalog.formats.base import Problem
from models.catalog.json_text import decoded
from models.catalog.rows import LARGEST_ROW_BYTES, Row, Unreadable, too_large_row

# A whole string, a bracket, a comma; or a quote whose string does not end in what has been read so far.
_PIECE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]|"', re.DOTALL)


def fits(beginning: bytes) -> bool:
    return not beginning.startswith(PARQUET_MARK) and text_start(beginning).startswith(b"[")


def read(file: BinaryIO) -> Iterator[Row]:
    """A row is numbered by its place in the array."""
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    for number, element in enumerate(_elements(file), start=1):
        if isinstance(element, Unreadable):
            yield Row(number, None, element, "")
            continue
        try:
            yield Row(number, decoded(element), None, element)
        except Unreadable as reason:
            yield Row(number, None, reason, element)


def _elements(file: BinaryIO) -> Iterator[bytes | Unreadable]:
    """The bytes between the array's commas, found by counting brackets.

    What ends the reading early (no closing bracket, a giant element, text after the array) comes last, as a reason.
    """
    buffer, scanned, depth = b"", 0, 0
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
                    yield element
            if depth == 0:
                if (buffer[scanned:] + file.read(CHUNK_BYTES)).strip():
                    yield Unreadable(Problem.NOT_JSON, "text after the end of the array", "one array, or lines")
                return
        buffer, scanned = buffer[begin:], scanned - begin
        if len(buffer) > LARGEST_ROW_BYTES:
            yield too_large_row()
            return
    yield Unreadable(Problem.NOT_JSON, "an array that does not end", 'a "]" after the last row')


CONTAINER = Container(name="json", title="A JSON array", suffixes=(".json",), fits=fits, read=read, alike=("jsonl",))
