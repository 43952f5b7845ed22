"""JSON lines: one object a line. A line that cannot be read leaves the next ones whole."""

from collections.abc import Iterator
from typing import BinaryIO

from models.catalog.containers.base import CHUNK_BYTES, PARQUET_MARK, Container, text_start
from models.catalog.json_text import decoded
from models.catalog.rows import LARGEST_ROW_BYTES, Row, Unreadable, too_large_row


def fits(beginning: bytes) -> bool:
    return not beginning.startswith(PARQUET_MARK) and not text_start(beginning).startswith(b"[")


def read(file: BinaryIO) -> Iterator[Row]:
    """A row is numbered by its line; blank lines are no rows."""
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    number = 0
    while line := file.readline(LARGEST_ROW_BYTES + 1):
        number += 1
        if len(line) > LARGEST_ROW_BYTES:
            beginning = line[:CHUNK_BYTES]
            while line and not line.endswith(b"\n"):
                line = file.readline(CHUNK_BYTES)
            yield Row(number, None, too_large_row(), beginning)
        elif not line.isspace():
            try:
                yield Row(number, decoded(line), None, line)
            except Unreadable as reason:
                yield Row(number, None, reason, line)


CONTAINER = Container(
    name="jsonl", title="JSON lines", suffixes=(".jsonl", ".ndjson"), fits=fits, read=read, alike=("json",)
)
