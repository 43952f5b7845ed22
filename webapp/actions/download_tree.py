"""Stored bytes on their way out: one blob, or a directory as a zip, in pieces and verified while they pass."""

import hashlib
import zipfile
from collections.abc import Iterator
from itertools import chain

from models.domain.chat import TreeRef
from models.domain.errors import AppError
from models.infra.storage import CHUNK_BYTES, Storage

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal trees give equal zips


def chunks_of(storage: Storage, scope: str, sha256: str) -> Iterator[bytes]:
    """The blob in pieces. Opens it at once, so that a missing blob is an answer and not a cut connection."""
    chunks = _verified(storage, scope, sha256)
    return chain([next(chunks)], chunks)


def zip_of(storage: Storage, tree: TreeRef) -> Iterator[bytes]:
    """A zip of the tree, stored without compression: weights do not shrink, and readers can seek in them."""
    listing = storage.listing(tree)
    return _zipped(storage, tree.scope, [(file.path, file.sha256, file.size) for file in listing.files])


def _zipped(storage: Storage, scope: str, files: list[tuple[str, str, int]]) -> Iterator[bytes]:
    out = _Pieces()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for path, sha256, size in files:
            entry = zipfile.ZipInfo(path, ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            entry.file_size = size
            with archive.open(entry, "w") as member:
                for chunk in _verified(storage, scope, sha256):
                    member.write(chunk)
                    yield out.taken()
    yield out.taken()


def _verified(storage: Storage, scope: str, sha256: str) -> Iterator[bytes]:
    """Always yields at least once. Raises at the end where the bytes are not those of the name."""
    digest = hashlib.sha256()
    with storage.open(scope, sha256) as file:
        chunk = file.read(CHUNK_BYTES)
        while True:
            digest.update(chunk)
            following = file.read(CHUNK_BYTES)
            if not following and digest.hexdigest() != sha256:
                raise AppError(f"Blob {sha256[:12]} does not have its own hash any more: the storage is damaged.")
            yield chunk
            if not following:
                return
            chunk = following


class _Pieces:
    """A file that can only be written to, and is emptied by its reader."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
