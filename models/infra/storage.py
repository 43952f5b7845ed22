"""Content-addressed storage over fsspec: a blob is its sha256, a directory is the sha256 of its listing.

Scopes keep teams apart ("shared", "team/<id>"): equal bytes are stored once within a scope and never across,
so that nobody learns what others have. Knows no database; rows about blobs are the store's business.

A file's time of change says when it was last put: putting bytes that are there renews it. Whoever clears away
(`models.infra.care`) takes only what was not put for long, so bytes and the row that names them may be apart for
hours and still meet.
"""

import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field

from models.domain.chat import TreeRef
from models.domain.errors import AppError, Code, Invalid, NotFound
from models.domain.ids import Sha256
from models.domain.training import Spec

CHUNK_BYTES = 1 << 20
SHARED = "shared"
NOTE = "installation"  # whose files these are
DOOMED = ".doomed"  # on its way out, see `discard`


def team_scope(team: str) -> str:
    return f"team/{team}"


class BlobRef(Spec):
    """A stored file: where (scope), what (sha256), how large."""

    scope: str
    sha256: Sha256
    size: int


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A blob as storage has it. `put_at`: seconds since 1970."""

    scope: str
    sha256: Sha256
    size: int
    put_at: float


class TreeFile(Spec):
    path: str  # relative, POSIX, no ".."
    sha256: Sha256
    size: int = Field(ge=0)


class Listing(Spec):
    """A directory as data; its canonical JSON is itself a blob, whose sha256 names the tree."""

    files: tuple[TreeFile, ...]

    def canonical(self) -> bytes:
        ordered = Listing(files=tuple(sorted(self.files, key=lambda f: f.path)))
        return ordered.model_dump_json().encode()

    @property
    def total_bytes(self) -> int:
        return sum(f.size for f in self.files)


class Storage:
    """put and fetch, verified by hash on the way in and on the way out."""

    def __init__(self, url: str) -> None:
        self._fs, root = fsspec.url_to_fs(url)
        self._root = root.rstrip("/")
        self.is_local = isinstance(self._fs, LocalFileSystem)

    def is_alive(self) -> bool:
        """Takes bytes and gives them up again, now. `/readyz` asks."""
        probe = f"{self._root}/staging/{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(f"{self._root}/staging", exist_ok=True)
            self._fs.pipe_file(probe, b"alive")
            self._fs.rm(probe)
        except OSError:  # fsspec's file systems raise subclasses of it, also for a network that is away
            return False
        return True

    def put_file(self, scope: str, path: Path) -> BlobRef:
        """Store a file. Equal bytes already there are not written again."""
        with path.open("rb") as file:
            return self.put_stream(scope, file)

    def put_stream(self, scope: str, stream: IO[bytes], max_bytes: int | None = None) -> BlobRef:
        """Store what `stream` yields; raises Invalid(too_large) past `max_bytes` and leaves nothing behind."""
        staged = f"{self._root}/staging/{uuid.uuid4().hex}"
        digest, size = hashlib.sha256(), 0
        self._fs.makedirs(f"{self._root}/staging", exist_ok=True)
        try:
            with self._fs.open(staged, "wb") as out:
                while chunk := stream.read(CHUNK_BYTES):
                    size += len(chunk)
                    if max_bytes is not None and size > max_bytes:
                        raise Invalid(
                            f"The file is larger than {max_bytes:,} bytes. Split it into smaller files.",
                            code=Code.TOO_LARGE,
                        )
                    digest.update(chunk)
                    out.write(chunk)
                if self.is_local:
                    out.flush()
                    os.fsync(out.fileno())
            ref = BlobRef(scope=scope, sha256=Sha256(digest.hexdigest()), size=size)
            final = self._path(scope, ref.sha256)
            if not self._renewed(final):
                self._fs.makedirs(final.rsplit("/", 1)[0], exist_ok=True)
                if self.is_local:
                    Path(staged).chmod(0o440)
                self._fs.mv(staged, final)
            return ref
        finally:
            if self._fs.exists(staged):
                self._fs.rm(staged)

    def put_bytes(self, scope: str, data: bytes) -> BlobRef:
        return self.put_stream(scope, io.BytesIO(data))

    def put_tree(self, scope: str, directory: Path) -> tuple[TreeRef, Listing]:
        """Store every regular file below `directory`; links are refused."""
        files = []
        for path in sorted(directory.rglob("*")):
            if path.is_symlink():
                raise Invalid(f"{path.name} is a symbolic link; only regular files can be stored. Remove it.")
            if path.is_file():
                ref = self.put_file(scope, path)
                files.append(TreeFile(path=path.relative_to(directory).as_posix(), sha256=ref.sha256, size=ref.size))
        listing = Listing(files=tuple(files))
        ref = self.put_bytes(scope, listing.canonical())
        return TreeRef(scope=scope, sha256=ref.sha256), listing

    def listing(self, tree: TreeRef) -> Listing:
        with self.open(tree.scope, tree.sha256) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != tree.sha256:
            raise _damaged(tree.sha256)
        return Listing.model_validate_json(data)

    @contextmanager
    def open(self, scope: str, sha256: str) -> Iterator[BinaryIO]:
        """Open a blob for reading. Raises NotFound."""
        path = self._path(scope, sha256)
        if not self._fs.exists(path):
            raise NotFound(f"Blob {sha256[:12]} is not in storage. Restore it from a backup or upload the file again.")
        with self._fs.open(path, "rb") as file:
            yield file

    def local_path(self, scope: str, sha256: str) -> Path | None:
        """The blob's own file where storage is a local directory; else None. Read it, link it, never write it."""
        return Path(self._path(scope, sha256)) if self.is_local else None

    def fetch_file(self, scope: str, sha256: str, destination: Path) -> None:
        """Bring a blob to `destination`: a copy whose hash was checked while copying."""
        digest = hashlib.sha256()
        staged = destination.with_name(f".{destination.name}.part")
        destination.parent.mkdir(parents=True, exist_ok=True)
        with self.open(scope, sha256) as source, staged.open("wb") as out:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != sha256:
            staged.unlink()
            raise _damaged(sha256)
        staged.replace(destination)

    def fetch_tree(self, tree: TreeRef, destination: Path) -> Listing:
        """Bring a directory to `destination`, complete or not at all (rename last)."""
        listing = self.listing(tree)
        staged = destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            for file in listing.files:
                self.fetch_file(tree.scope, file.sha256, staged / _inside(file.path))
            staged.mkdir(parents=True, exist_ok=True)
            staged.replace(destination)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return listing

    def belongs_to(self, installation: str) -> bool:
        """Whether these files are of this installation, by a note that the first one to ask leaves here."""
        note = f"{self._root}/{NOTE}"
        if not self._fs.exists(note):
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(note, installation.encode())
        return self._fs.cat_file(note) == installation.encode()

    def files(self) -> Iterator[StoredFile]:
        """Every blob with the time it was last put. First finishes what a `discard` that was killed had begun."""
        self._fs.invalidate_cache()
        for path in self._below(self._root):
            if path.endswith(DOOMED):
                self._restore(path)
        for path, size in self._below(self._root).items():
            folder, _, name = path.removeprefix(f"{self._root}/").rpartition("/")
            scope, _, prefix = folder.rpartition("/")
            with suppress(FileNotFoundError):  # gone meanwhile
                if len(name) == 64 and name[:2] == prefix:
                    yield StoredFile(scope=scope, sha256=Sha256(name), size=size, put_at=self._put_at(path))

    def discard(self, file: StoredFile, before: float) -> bool:
        """Remove a blob unless it was put at or after `before` (seconds since 1970); True if it is gone.

        On a local disk the file is moved aside first and looked at again, so that who puts the same bytes at this
        moment either renews the one aside, which then comes back, or finds none and writes them. Object stores
        have no such move: there the last look and the removal are two requests.
        """
        path = self._path(file.scope, file.sha256)
        aside = path + DOOMED if self.is_local else path
        try:
            if self.is_local:
                Path(path).rename(aside)
            if self._put_at(aside) >= before:
                self._restore(aside)
                return False
            self._fs.rm_file(aside)
        except FileNotFoundError:
            return False  # somebody else was quicker
        return True

    def discard_staged(self, before: float) -> int:
        """Remove what writers that were killed left half-written before then; how many files."""
        staging, gone = f"{self._root}/staging", 0
        for path in self._below(staging):
            try:
                if self._put_at(path) < before:
                    self._fs.rm_file(path)
                    gone += 1
            except FileNotFoundError:
                continue
        return gone

    def _below(self, folder: str) -> dict[str, int]:
        """Every file there with its size."""
        if not self._fs.exists(folder):
            return {}
        return {path: facts["size"] for path, facts in self._fs.find(folder, detail=True).items()}

    def _renewed(self, path: str) -> bool:
        """True if the blob is there, and from now on newly put. Object stores renew by being written again."""
        if not self.is_local:
            return False
        try:
            os.utime(path)
        except OSError:  # not there, or another user's: then ours takes its place
            return False
        return True

    def _restore(self, aside: str) -> None:
        if not aside.endswith(DOOMED):
            return
        with suppress(FileExistsError, FileNotFoundError):
            os.link(aside, aside.removesuffix(DOOMED))
        Path(aside).unlink(missing_ok=True)

    def _put_at(self, path: str) -> float:
        if self.is_local:
            return Path(path).stat().st_mtime
        return self._fs.modified(path).timestamp()

    def _path(self, scope: str, sha256: str) -> str:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise NotFound("That is not a sha256: 64 lower-case hex digits were needed.")
        return f"{self._root}/{scope}/{sha256[:2]}/{sha256}"


def _inside(path: str) -> PurePosixPath:
    """Refuse a listing that would write outside its directory."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise Invalid(f"listing names {path!r}, which leaves its directory.")
    return pure


def _damaged(sha256: str) -> AppError:
    return AppError(f"Blob {sha256[:12]} does not have its own hash any more: the storage is damaged.")
