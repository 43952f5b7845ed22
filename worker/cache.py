"""Local copies of stored files and trees, below a limit in bytes. Knows storage, nothing of jobs, SQL or models.

An entry is named by its hash, verified when it arrives and complete as soon as its name exists. Processes share
the directory: whoever uses an entry holds a shared lock on its lock file, which the kernel gives back however the
process ends; making an entry needs the lock alone, and so does evicting one. Local storage is linked, not copied.
"""

import fcntl
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from models.domain.chat import TreeRef
from models.domain.errors import AppError
from models.infra.settings import Settings
from models.infra.storage import Storage
from worker.jobdir import sha256_of

LOOK_EVERY_SECONDS = 0.05
WEIGHTS = ".safetensors"
ROOMS = ("trees", "files", "kept")

Watch = Callable[[], None]
"""Called while waiting and between files; raises to give up."""


def _nothing() -> None:
    """The watch of who has nothing to watch."""


class Cache:
    """Trees and files of one host. Safe to share between threads and between processes."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._root = settings.cache_dir
        self._most_bytes = settings.cache_bytes
        self._storage = storage
        self._pins: dict[str, list[IO[bytes]]] = {}
        self._guard = threading.Lock()
        for name in (*ROOMS, "locks", "arriving"):
            (self._root / name).mkdir(parents=True, exist_ok=True)

    def tree(self, ref: TreeRef, watch: Watch = _nothing) -> Path:
        """The directory of this tree, read-only. It stays until `let_go` as often as it was asked for, or our end.

        Raises NotFound where storage does not have it, AppError where its bytes are damaged.
        """
        return self._hold("trees", ref.sha256, lambda staged: self._bring_tree(ref, staged, watch), watch)

    def file(self, scope: str, sha256: str, watch: Watch = _nothing) -> Path:
        """This file, read-only; held and raising as `tree`."""
        return self._hold("files", sha256, lambda staged: self._bring_file(scope, sha256, staged), watch)

    def let_go(self, sha256: str) -> None:
        """One use of this tree or file has ended; with the last one it may be evicted."""
        with self._guard:
            locks = self._pins.get(sha256, [])
            if locks:
                locks.pop().close()
            if not locks:
                self._pins.pop(sha256, None)

    @contextmanager
    def using_tree(self, ref: TreeRef, watch: Watch = _nothing) -> Iterator[Path]:
        """`tree`, let go at the end of the block."""
        path = self.tree(ref, watch)
        try:
            yield path
        finally:
            self.let_go(ref.sha256)

    @contextmanager
    def using_file(self, scope: str, sha256: str, watch: Watch = _nothing) -> Iterator[Path]:
        path = self.file(scope, sha256, watch)
        try:
            yield path
        finally:
            self.let_go(sha256)

    @contextmanager
    def using_texts(self, ref: TreeRef, watch: Watch = _nothing) -> Iterator[Path]:
        """This tree without its weights, which may be large: what rendering needs, kept by itself."""
        name = f"{ref.sha256}.texts"
        path = self._hold("trees", name, lambda staged: self._bring_tree(ref, staged, watch, without=WEIGHTS), watch)
        try:
            yield path
        finally:
            self.let_go(name)

    @contextmanager
    def using_kept(self, name: str) -> Iterator[Path | None]:
        """The folder that `keep` took under this name, read-only; None where there is none any more."""
        entry = self._root / "kept" / name
        with (self._root / "locks" / name).open("ab") as lock:
            _take(lock, fcntl.LOCK_SH, _nothing)
            if not entry.exists():
                yield None
                return
            os.utime(entry)
            yield entry

    def keep(self, name: str, folder: Path) -> None:
        """Take a folder that was made here and can be made again, unless this name has one or is being looked at.

        One with a symbolic link in it is not taken: it may lead anywhere.
        """
        if folder.is_symlink() or any(path.is_symlink() for path in folder.rglob("*")):
            return
        entry = self._root / "kept" / name
        with (self._root / "locks" / name).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if entry.exists():
                return
            self.make_room(_bytes_of(folder))
            self._arrive(entry, lambda staged: _take_over(folder, staged))

    def forget(self, name: str) -> None:
        """Evict what was kept under this name, unless it is in use."""
        self._evict(self._root / "kept" / name)

    def make_room(self, wanted_bytes: int) -> None:
        """Evict what was used longest ago, and is not in use, until `wanted_bytes` more fit below the limit."""
        entries = self._entries()
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total + wanted_bytes <= self._most_bytes:
                return
            if self._evict(path):
                total -= size

    def forget_unused(self, seconds: float) -> int:
        """Evict what nobody used for so long, and what killed processes left half-arrived; how many entries went."""
        before = time.time() - seconds
        for path in (self._root / "arriving").iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    _remove(path)
        return sum(self._evict(path) for used_at, _, path in self._entries() if used_at < before)

    def _hold(self, room: str, sha256: str, bring: Callable[[Path], None], watch: Watch) -> Path:
        entry = self._root / room / sha256
        lock = (self._root / "locks" / sha256).open("ab")
        try:
            _take(lock, fcntl.LOCK_SH, watch)
            while not entry.exists():
                _take(lock, fcntl.LOCK_EX, watch)
                if not entry.exists():
                    self._arrive(entry, bring)
                # Not atomic: between the two locks another process may evict the entry, so look again.
                _take(lock, fcntl.LOCK_SH, watch)
            os.utime(entry)
        except BaseException:
            lock.close()
            raise
        with self._guard:
            self._pins.setdefault(sha256, []).append(lock)
        return entry

    def _arrive(self, entry: Path, bring: Callable[[Path], None]) -> None:
        staged = self._root / "arriving" / uuid.uuid4().hex
        try:
            bring(staged)
            staged.replace(entry)
        finally:
            _remove(staged)

    def _bring_tree(self, ref: TreeRef, staged: Path, watch: Watch, *, without: str | None = None) -> None:
        files = [
            file for file in self._storage.listing(ref).files if without is None or not file.path.endswith(without)
        ]
        self.make_room(sum(file.size for file in files))
        staged.mkdir()
        for file in files:
            watch()
            destination = staged / file.path
            if not destination.resolve().is_relative_to(staged.resolve()):
                raise AppError(f"a stored listing names {file.path!r}, which leaves its directory. It is not used.")
            destination.parent.mkdir(parents=True, exist_ok=True)
            self._bring_file(ref.scope, file.sha256, destination)

    def _bring_file(self, scope: str, sha256: str, destination: Path) -> None:
        stored = self._storage.local_path(scope, sha256)
        if stored is None or not _linked(stored, destination):
            self._storage.fetch_file(scope, sha256, destination)
            destination.chmod(0o440)
        elif sha256_of(destination) != sha256:
            raise AppError(f"Blob {sha256[:12]} does not have its own hash any more: the storage is damaged.")

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of each; one that another process evicts meanwhile is left out."""
        found = []
        for path in [path for room in ROOMS for path in (self._root / room).iterdir()]:
            try:
                found.append((path.stat().st_mtime, _bytes_of(path), path))
            except FileNotFoundError:
                continue
        return found

    def _evict(self, entry: Path) -> bool:
        """False if somebody uses it, or has evicted it before us."""
        with (self._root / "locks" / entry.name).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            # Out of sight first: an entry is never half there under its name.
            doomed = self._root / "arriving" / uuid.uuid4().hex
            if not entry.exists():
                return False
            entry.replace(doomed)
        _remove(doomed)
        return True


def link_or_copy(source: Path, destination: Path) -> None:
    """A second name for one file, or a copy where the file system cannot give it one."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if not _linked(source, destination):
        shutil.copyfile(source, destination)


def link_tree(source: Path, destination: Path) -> None:
    """`link_or_copy` for each file below `source`."""
    destination.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if path.is_file():
            link_or_copy(path, destination / path.relative_to(source))


def _take_over(source: Path, staged: Path) -> None:
    """`link_tree`, and nothing of it can be written any more by accident."""
    link_tree(source, staged)
    for path in staged.rglob("*"):
        if path.is_file():
            path.chmod(0o440)


def _linked(source: Path, destination: Path) -> bool:
    try:
        os.link(source, destination)
    except OSError:  # another file system, too many links, or a system that forbids links to others' files
        return False
    return True


def _take(lock: IO[bytes], kind: int, watch: Watch) -> None:
    """Wait for a lock without going deaf: another process may hold it for the length of a download."""
    while True:
        watch()
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_EVERY_SECONDS)
        else:
            return


def _bytes_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
