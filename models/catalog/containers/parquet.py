"""Parquet, read in small batches. Nested values become lists and objects; what JSON has no word for becomes text.

Whoever reads a stranger's bounds the memory of the process as well: a few bytes of Parquet can stand for gigabytes.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from models.catalog.containers.base import PARQUET_MARK, Container
from models.catalog.formats.base import Problem
from models.catalog.rows import DEEPEST, MOST_ROWS, Row, Unreadable, check_cells, too_deep
from models.domain.errors import Code, Invalid

if TYPE_CHECKING:
    import pyarrow as pa

MOST_COLUMNS = 1000
MOST_VALUES = 200_000_000
MOST_VALUES_A_ROW = 100_000  # on the average of a part: a batch of few rows must stay small
MOST_RATIO = 500  # characters for a byte of the file: one long text may be said to stand in every row
CHARACTERS_BEFORE_RATIO = 64 * 1024**2
BATCH_BYTES = 16 * 1024 * 1024
MOST_BATCH_ROWS = 1000


def fits(beginning: bytes) -> bool:
    return beginning.startswith(PARQUET_MARK)


def read(file: BinaryIO) -> Iterator[Row]:
    """A row is numbered by its place in the file. pyarrow is loaded here: the web process has no use for it."""
    with _refusing():
        table = _opened(file)
        texts = _opened(file, metadata=table.metadata, read_dictionary=_text_columns(table.schema_arrow))
        yield from _rows(texts, max(CHARACTERS_BEFORE_RATIO, MOST_RATIO * file.seek(0, io.SEEK_END)))


def rows_in(file: BinaryIO) -> int:
    with _refusing():
        return _opened(file).metadata.num_rows


def _opened(file: BinaryIO, **how: Any) -> Any:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file, memory_map=False, buffer_size=1 << 20, **how)
    _check(table.metadata, table.schema_arrow)
    return table


@contextmanager
def _refusing() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except MemoryError:  # pyarrow's own among them
        raise _refused("it needs more memory than a check may take") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError, RecursionError) as fault:
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        raise _refused(f"it is damaged ({lines[0][:160]})") from None


def _rows(table: Any, most_characters: int) -> Iterator[Row]:
    number = characters = 0
    for group in range(table.num_row_groups):
        size = _batch_rows(table.metadata.row_group(group))
        for batch in table.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
            for values in _slices(batch):
                for value in values:
                    number += 1
                    row = _row(number, value)
                    characters += _characters(row.value)
                    if characters > most_characters:
                        raise _refused(f"it unpacks to more than {most_characters:,} characters, which is a bomb")
                    yield row


def _slices(batch: "pa.RecordBatch") -> Iterator[list[Any]]:
    """The batch as Python values, some rows at a time: a dictionary of one long text may stand for a thousand rows."""
    at_a_time = max(1, min(batch.num_rows, 16))
    for begin in range(0, batch.num_rows, at_a_time):
        piece = batch.slice(begin, at_a_time)
        try:
            yield piece.to_pylist()
        except UnicodeDecodeError:
            yield [_one(piece.slice(place, 1)) for place in range(piece.num_rows)]


def _one(piece: "pa.RecordBatch") -> Any:
    try:
        return piece.to_pylist()[0]
    except UnicodeDecodeError as fault:
        found = f"the byte 0x{fault.object[fault.start]:02x} at position {fault.start + 1}"
        return Unreadable(Problem.INVALID_UTF8, found, "UTF-8 text")


def _row(number: int, value: Any) -> Row:
    if isinstance(value, Unreadable):
        return Row(number, None, value, "")
    try:
        plain = {name: _plain(each, 2) for name, each in value.items()}
        check_cells(plain)
    except Unreadable as reason:
        return Row(number, None, reason, None)
    return Row(number, plain, None, None)


def _characters(value: Any) -> int:
    kind = type(value)
    if kind is str:
        return len(value)
    if kind is dict:
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if kind is list else 0


def _plain(value: Any, depth: int) -> Any:
    """As JSON would hold it. Maps become objects, times and decimals texts, bytes texts where they are UTF-8."""
    if value is None or type(value) in (str, int, bool):
        return value
    if depth > DEEPEST:
        raise too_deep()
    match value:
        case float():
            if not math.isfinite(value):
                raise Unreadable(Problem.NOT_A_NUMBER, str(value), "a number that JSON knows, or null")
            return value
        case dict():
            return {str(name): _plain(each, depth + 1) for name, each in value.items()}
        case list():
            if value and all(type(each) is tuple and len(each) == 2 for each in value):  # a map
                return {str(name): _plain(each, depth + 1) for name, each in value}
            return [_plain(each, depth + 1) for each in value]
        case bytes():
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError as fault:
                found = f"the byte 0x{value[fault.start]:02x} at position {fault.start + 1}"
                raise Unreadable(Problem.INVALID_UTF8, found, "UTF-8 text") from None
        case _:
            return str(value)


def _check(facts: Any, schema: Any) -> None:
    if len(schema) > MOST_COLUMNS or facts.num_columns > 10 * MOST_COLUMNS:
        raise _refused(f"it has {facts.num_columns:,} columns, and at most {MOST_COLUMNS:,} are read")
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise _refused(f'two of its columns are named "{twice[:60]}"')
    try:
        check_cells(list(schema.names))
    except Unreadable as reason:
        raise _refused(f"the name of a column holds {reason.found}") from None
    if facts.num_rows > MOST_ROWS:
        raise _refused(f"it has {facts.num_rows:,} rows, and at most {MOST_ROWS:,} are read")
    values = 0
    for group in map(facts.row_group, range(facts.num_row_groups)):
        here = sum(group.column(column).num_values for column in range(facts.num_columns))
        if here > MOST_VALUES_A_ROW * group.num_rows:
            raise _refused(f"{group.num_rows:,} of its rows stand for {here:,} values")
        values += here
    if values > MOST_VALUES:
        raise _refused(f"it stands for {values:,} values")


def _text_columns(schema: Any) -> list[str]:
    """Read as their dictionaries, texts that repeat take their room once."""
    import pyarrow as pa

    return [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]


def _batch_rows(group: Any) -> int:
    each = group.total_byte_size // max(1, group.num_rows) + 1
    return max(1, min(MOST_BATCH_ROWS, BATCH_BYTES // each))


def _refused(why: str) -> Invalid:
    return Invalid(
        f"the file cannot be read as Parquet: {why}. Write it again, or convert it to JSON lines.",
        code=Code.INVALID_FILE,
    )


CONTAINER = Container(
    name="parquet", title="Parquet", suffixes=(".parquet",), fits=fits, read=read, rows_in=rows_in, is_table=True
)
