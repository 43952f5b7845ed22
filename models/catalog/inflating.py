"""Gzip, inflated as it is read and bounded: a bomb and a damaged file are refused. Knows no rows."""

import io
import zlib

from models.domain.errors import Code, Invalid, TooLarge

GZIP_MARK = b"\x1f\x8b"
MOST_INFLATED_BYTES = 10 * 1024**3
MOST_RATIO = 200  # text shrinks 3 to 30 times; deflate can do 1,032
BYTES_BEFORE_RATIO = 32 * 1024**2
MOST_MEMBERS = 100_000  # of 20 bytes each, a file could hold millions of empty ones
CHUNK_BYTES = 64 * 1024


class Inflated(io.RawIOBase):
    """What a gzip file holds, bounded: raises TooLarge for a bomb and Invalid for a damaged file. Seeks to 0 only."""

    def __init__(self, stored: io.FileIO) -> None:
        self._stored = stored
        self._begin()

    def _begin(self) -> None:
        self._stored.seek(0)
        self._member = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._taken = self._given = self._members = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._given

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR and offset == 0:
            return self._given
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("a gzip file is read from its beginning")
        self._begin()
        return 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        self._given += len(data)
        if self._given > MOST_INFLATED_BYTES:
            raise _bomb(f"more than {MOST_INFLATED_BYTES // 1024**3} GB")
        if self._given > max(BYTES_BEFORE_RATIO, MOST_RATIO * self._taken):
            raise _bomb(f"more than {MOST_RATIO} times its own size")
        return len(data)

    def _next(self, most: int) -> bytes:
        while True:
            if self._member.eof:  # several members may follow each other; zeros may fill the end
                self._waiting = (self._member.unused_data or self._waiting).lstrip(b"\0")
                self._waiting = self._waiting or self._take().lstrip(b"\0")
                if not self._waiting:
                    return b""
                self._members += 1
                if self._members > MOST_MEMBERS:
                    raise _damaged(f"it has more than {MOST_MEMBERS:,} members")
                self._member = zlib.decompressobj(wbits=31)
            self._waiting = self._waiting or self._take()
            if not self._waiting:
                raise _damaged("it breaks off")
            try:
                data = self._member.decompress(self._waiting, most)
            except zlib.error as fault:
                raise _damaged(str(fault)) from None
            self._waiting = self._member.unconsumed_tail
            if data:
                return data

    def _take(self) -> bytes:
        chunk = self._stored.read(CHUNK_BYTES) or b""
        self._taken += len(chunk)
        return chunk


def _bomb(size: str) -> TooLarge:
    return TooLarge(
        f"the gzip archive unpacks to {size}, which is refused. Upload the file as it is, or in parts.",
        code=Code.INVALID_FILE,
    )


def _damaged(why: str) -> Invalid:
    return Invalid(f"the gzip archive is damaged: {why[:100]}. Pack it again.", code=Code.INVALID_FILE)
