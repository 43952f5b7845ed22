"""Reads single columns of a Parquet file row by row, a thousand rows at a time in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def columns_of(path: Path, *names: str) -> Iterator[tuple[Any, ...]]:
    """The values of these columns, in the order of the names; other columns are not read."""
    for batch in pq.ParquetFile(path).iter_batches(columns=list(names), batch_size=1000):
        yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
