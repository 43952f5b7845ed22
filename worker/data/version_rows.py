"""The rows of a version's files one after the other, numbered over all of them, columns mapped and cells decoded.

Knows containers and the reading, no format: judging comes after.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.catalog.cells import with_decoded_cells
from models.catalog.containers import Opened, opened
from models.catalog.containers.base import no_rows
from models.catalog.mapping import mapped
from models.catalog.rows import MOST_ROWS, Row
from models.domain.errors import Code, TooLarge
from models.domain.reading import Reading
from models.domain.reports import PartRows

Files = Sequence[tuple[str, Path]]  # each with the name it was uploaded under, which tells its container
Watch = Callable[[int], None]

ROWS_BETWEEN_LOOKS = 16


class RowRead(NamedTuple):
    """`row` as its file has it, but numbered over all files; `understood` is its value as a format gets it."""

    row: Row
    understood: Any


class VersionRows:
    """To be gone through once. `watch` is told the bytes read so far of all files, and may raise to stop.

    Raises Invalid for a file that is empty or none of ours, TooLarge above MOST_ROWS rows.
    """

    def __init__(self, files: Files, reading: Reading, watch: Watch = lambda _: None) -> None:
        self._files, self._reading, self._watch = files, reading, watch
        self._count = 0
        self.containers: list[str] = []
        self.parts: list[PartRows] = []

    def __iter__(self) -> Iterator[RowRead]:
        done_bytes = number = 0
        for filename, path in self._files:
            first, before = number + 1, self._count
            with opened(filename, path) as file:
                if file.container.name not in self.containers:
                    self.containers.append(file.container.name)
                for read in self._of_file(file, number, done_bytes):
                    number = read.row.number
                    yield read
            if self._count == before:
                raise no_rows()
            self.parts.append(PartRows(filename=filename, first_row=first, rows=self._count - before))
            done_bytes += path.stat().st_size

    def _of_file(self, file: Opened, before: int, done_bytes: int) -> Iterator[RowRead]:
        mapping, is_table = self._reading.mapping, file.container.is_table
        for row in file.rows():
            self._count += 1
            if self._count > MOST_ROWS:
                raise TooLarge(
                    f"there are more than {MOST_ROWS:,} rows; at most that many are read. Split the file.",
                    code=Code.INVALID_FILE,
                )
            if self._count % ROWS_BETWEEN_LOOKS == 0:
                self._watch(done_bytes + file.position)
            understood = row.value
            if (mapping or is_table) and type(understood) is dict:
                if mapping:
                    understood = mapped(understood, mapping)
                if is_table:
                    understood = with_decoded_cells(understood)
            yield RowRead(row._replace(number=before + row.number) if before else row, understood)
