"""The containers that rows come in, one file each, found by import, each also in gzip. Decides which one a file is.

The name's ending proposes, the content decides or refuses. Gzip is known by its first bytes, whatever the name says.
"""

import codecs
import io
import os
import pkgutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from models.catalog.containers.base import CHUNK_BYTES, Container, no_rows
from models.catalog.inflating import GZIP_MARK, Inflated
from models.catalog.rows import Row
from models.domain.errors import Code, Invalid

GZIP_ENDING = ".gz"

_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive or an Office file",
    b"%PDF": "a PDF file",
    b"GGUF": "a GGUF model",
    b"\x89PNG": "a picture",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a database",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
}


def _found() -> dict[str, Container]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    containers: tuple[Container, ...] = tuple(import_module(f"{__name__}.{name}").CONTAINER for name in names)
    return {each.name: each for each in containers}


CONTAINERS: dict[str, Container] = _found()
SUFFIXES: tuple[str, ...] = tuple(suffix for each in CONTAINERS.values() for suffix in each.suffixes)
ENDINGS: tuple[str, ...] = SUFFIXES + tuple(suffix + GZIP_ENDING for suffix in SUFFIXES)  # of names, in lower case


class Opened:
    """One file of rows, open for reading. `position`: how many bytes of the stored file have been read."""

    def __init__(self, container: Container, file: BinaryIO, stored: io.FileIO) -> None:
        self.container, self._file, self._stored = container, file, stored
        self._share: float | None = None

    @property
    def position(self) -> int:
        if self._share is None:
            return self._stored.tell()
        return round(self._share * os.fstat(self._stored.fileno()).st_size)

    def rows(self) -> Iterator[Row]:
        """Every row that is not blank; to be asked for once. Raises Invalid for a file that is no such container."""
        rows_in = self.container.rows_in
        return self.container.read(self._file) if rows_in is None else self._counted(rows_in(self._file))

    def _counted(self, total: int) -> Iterator[Row]:
        for row in self.container.read(self._file):
            self._share = row.number / total
            yield row


@contextmanager
def opened(filename: str, path: Path) -> Iterator[Opened]:
    """The file, inflated as it is read. Raises Invalid for what is empty, foreign or not what its name says."""
    with path.open("rb", buffering=0) as stored:
        is_gzip = stored.read(len(GZIP_MARK)) == GZIP_MARK
        stored.seek(0)
        if not is_gzip:
            with io.BufferedReader(stored, CHUNK_BYTES) as file:
                yield Opened(_container_of(filename, file), file, stored)
            return
        with io.BufferedReader(Inflated(stored), CHUNK_BYTES) as file:
            container = _container_of(filename, file)
            if container.name != "parquet":
                yield Opened(container, file, stored)
                return
            with tempfile.TemporaryFile() as whole:  # its directory stands at the end
                while chunk := file.read(CHUNK_BYTES):
                    whole.write(chunk)
                whole.seek(0)
                yield Opened(container, cast(BinaryIO, whole), stored)


def _container_of(filename: str, file: BinaryIO) -> Container:
    beginning = file.read(CHUNK_BYTES)
    file.seek(0)
    if not beginning.removeprefix(codecs.BOM_UTF8).strip():
        raise no_rows()
    for mark, kind in _BEGINNINGS.items():
        if beginning.startswith(mark):
            raise Invalid(f"the file is {kind}; {_needed()} Convert it first.", code=Code.INVALID_FILE)
    if beginning.startswith(GZIP_MARK):
        raise Invalid("the file is a gzip archive in a gzip archive; pack it once.", code=Code.INVALID_FILE)
    ending = PurePosixPath(filename.lower().removesuffix(GZIP_ENDING)).suffix
    named = next((each for each in CONTAINERS.values() if ending in each.suffixes), None)
    likely = [named, *(CONTAINERS[name] for name in named.alike)] if named else _BY_CONTENT
    for container in likely:
        if container.fits(beginning):
            return container
    held = next(each for each in _BY_CONTENT if each.fits(beginning))
    raise Invalid(
        f"the name of the file ends in {ending}, but it holds {held.title}. Name it {held.suffixes[0]} and upload it "
        "again.",
        code=Code.INVALID_FILE,
    )


# For a name without a known ending, and to say what a file is that is not what its name says.
_BY_CONTENT = [CONTAINERS[name] for name in ("parquet", "json", "jsonl")]


def _needed() -> str:
    return f"training rows come as {', '.join(each.title for each in CONTAINERS.values())}, each also in gzip."
