"""Looks after an installation by the hour: bytes that nothing refers to go, and old records with them.

Runs in the processes that sweep; a lease lets one of them do it at a time. The order and why no race loses bytes
stand in `models.db.store.garbage`. Knows no job directory: those are the business of each worker's machine.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from models.db.engine import Database
from models.db.store.garbage import InUse, Key
from models.db.store.system import SystemStore
from models.domain.chat import TreeRef
from models.domain.errors import Conflict, Unavailable
from models.domain.ids import new_id
from models.infra.settings import Settings
from models.infra.storage import Storage

LEASE_NAME = "care"
DAY = 24 * 3600
FIRST_AFTER_SECONDS = 60.0  # a process that has just started has better things to do
ROWS_AT_ONCE = 500

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Freed:
    """What a round removed, or would have: `old` counts records by what they are."""

    files: int = 0
    size: int = 0
    checkpoints: int = 0
    old: dict[str, int] = field(default_factory=dict)


def care(database: Database, storage: Storage, settings: Settings, *, dry_run: bool = False) -> Freed:
    """One round. Safe beside any other process, another round included.

    Raises Conflict where the storage is another installation's, NotFound or AppError where a listing that is in use
    cannot be read: then nobody knows what it holds, and no bytes are removed.
    """
    began = time.time()
    with database.read() as session:
        installation = SystemStore(session).installation()
    if not storage.belongs_to(installation):
        raise Conflict(
            "The storage holds the files of another installation, so nothing in it is cleared away. "
            "Give each installation its own TUNEROOM_STORAGE_URL."
        )
    found = _look(database, settings, dry_run=dry_run)
    kept = _keys_of(storage, found.used)
    doomed = [key for key in found.candidates if key not in kept]
    if not dry_run:
        _forget_rows(database, doomed, settings)
    with database.read() as session:
        known = SystemStore(session).known_blobs()
    if dry_run:
        known -= set(doomed)
    files, size = _discard(storage, known | kept, began - settings.gc_after_seconds, dry_run=dry_run)
    return Freed(files=files, size=size, checkpoints=found.checkpoints, old=found.old)


class Carer:
    """A thread that cares each `care_seconds` while this process holds the lease."""

    def __init__(self, database: Database, storage: Storage, settings: Settings) -> None:
        self._database = database
        self._storage = storage
        self._settings = settings
        self._owner = new_id("care")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="care", daemon=True)

    def start(self) -> "Carer":
        self._thread.start()
        return self

    def stop(self) -> None:
        """A round that has begun is left to end with the process: it may be cut anywhere."""
        self._over.set()

    def round(self) -> Freed | None:
        """None while another process holds the lease."""
        with self._database.write() as session:
            if not SystemStore(session).take_lease(LEASE_NAME, self._owner, 1.5 * self._settings.care_seconds):
                return None
        freed = care(self._database, self._storage, self._settings)
        log.info("cared", files=freed.files, bytes=freed.size, checkpoints=freed.checkpoints, **_named(freed.old))
        return freed

    def _run(self) -> None:
        every(self._settings.care_seconds, self._over, self.round, "care")


def every(seconds: float, over: threading.Event, do: Callable[[], object], what: str) -> None:
    """Call `do` again and again until `over`; a fault is logged and does not end it."""
    wait_seconds = min(FIRST_AFTER_SECONDS, seconds)
    while not over.wait(wait_seconds):
        wait_seconds = seconds
        try:
            do()
        except Unavailable as error:
            log.warning("skipped", what=what, why=error.message)
        except Exception:  # a thread's door: a round that fails once must not be the last
            log.exception("failed", what=what)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the database says: records gone, bytes in use, and blobs that may not be."""

    old: dict[str, int]
    checkpoints: int
    used: InUse
    candidates: list[Key]


class _Undone(Exception):
    """Only looking: nothing of the transaction is kept."""


def _look(database: Database, settings: Settings, *, dry_run: bool) -> _Found:
    """Let old records go and see what is in use then; `dry_run` takes it all back."""
    found = None
    with suppress(_Undone), database.write() as session:
        store, after = SystemStore(session), settings.gc_after_seconds
        old = {"ends of logs": store.forget_logs(settings.keep_logs_days * DAY)}
        old |= store.forget_traces(settings.keep_traces_days * DAY)
        checkpoints = store.drop_checkpoints(after, settings.keep_logs_days * DAY)
        found = _Found(
            old={name: count for name, count in old.items() if count}, checkpoints=checkpoints,
            used=store.in_use(after), candidates=store.old_blobs(after),
        )  # fmt: skip
        if dry_run:
            raise _Undone
    assert found is not None  # or the database raised
    return found


def _keys_of(storage: Storage, used: InUse) -> set[Key]:
    """Every blob that is in use: single files, listings, and the files they name."""
    kept = set(used.files)
    for tree in used.trees:
        kept |= _keys_in(storage, tree)
    return kept


def _keys_in(storage: Storage, tree: TreeRef) -> set[Key]:
    hashes: list[str] = [tree.sha256, *(file.sha256 for file in storage.listing(tree).files)]
    return {(tree.scope, sha256) for sha256 in hashes}


def _forget_rows(database: Database, keys: list[Key], settings: Settings) -> None:
    """In short transactions, so that nobody waits long for a lock."""
    for start in range(0, len(keys), ROWS_AT_ONCE):
        with database.write() as session:
            SystemStore(session).forget(keys[start : start + ROWS_AT_ONCE], settings.gc_after_seconds)


def _discard(storage: Storage, kept: set[Key], before: float, *, dry_run: bool) -> tuple[int, int]:
    """Files that have no row and no use and were not put for long, and what killed writers left."""
    files, size = 0, 0
    for file in storage.files():
        if (file.scope, file.sha256) in kept or file.put_at >= before:
            continue
        if dry_run or storage.discard(file, before):
            files, size = files + 1, size + file.size
    if not dry_run:
        storage.discard_staged(before)
    return files, size


def _named(counts: dict[str, int]) -> dict[str, int]:
    return {name.replace(" ", "_"): count for name, count in counts.items()}
