"""What a container is: how rows lie in a file. Knows bytes, no format and no network.

To add a container, add a file beside this one that exports CONTAINER.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from models.catalog.rows import Row
from models.domain.errors import Code, Invalid

CHUNK_BYTES = 1024 * 1024
PARQUET_MARK = b"PAR1"


@dataclass(frozen=True, kw_only=True)
class Container:
    """One way in which rows lie in a file.

    `fits` says whether bytes that begin so can be this container; `read` yields the rows of a seekable file that is not
    empty and raises Invalid where it is none after all. `rows_in` counts the rows of a file that is not read from front
    to back, so that progress is told by them. `alike`: containers that go under the same endings, so that the content
    decides. `is_table`: cells may hold JSON as text, which `models.catalog.cells` decodes.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    fits: Callable[[bytes], bool]
    read: Callable[[BinaryIO], Iterator[Row]]
    rows_in: Callable[[BinaryIO], int] | None = None
    alike: tuple[str, ...] = ()
    is_table: bool = False


def text_start(beginning: bytes) -> bytes:
    """The first bytes that are no white space, after a byte order mark."""
    return beginning.removeprefix(b"\xef\xbb\xbf").lstrip()


def no_rows() -> Invalid:
    return Invalid("the file has no rows; a training file needs at least one.", code=Code.INVALID_FILE)
