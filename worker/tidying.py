"""What ended jobs leave on this worker's machine: folders and copies, let go after their time.

Each worker's machine tidies its own disk; a lease by host and folder lets one process of it do so. Knows the
database only to ask which jobs have ended, and nothing of storage.
"""

import hashlib
import shutil
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.ids import new_id
from models.infra.care import DAY, every
from models.infra.settings import Settings
from worker.cache import Cache

LEFT_BY_ATTEMPTS = ("in", "out", "tmp", "checkpoints")  # an attempt that was killed could not remove them itself

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Tidied:
    """How many folders of jobs went, how many ended jobs lost what they had left over, how many copies went."""

    jobs: int
    leftovers: int
    copies: int


class Tidying:
    """A thread that tidies each `care_seconds` while this process holds this machine's lease."""

    def __init__(self, database: Database, cache: Cache, settings: Settings) -> None:
        self._database = database
        self._cache = cache
        self._settings = settings
        self._owner = new_id("care")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidying", daemon=True)

    def start(self) -> "Tidying":
        self._thread.start()
        return self

    def round(self) -> Tidied | None:
        """None while another process of this machine holds the lease."""
        with self._database.write() as session:
            if not SystemStore(session).take_lease(self._lease_name(), self._owner, 1.5 * self._settings.care_seconds):
                return None
        tidied = tidy(self._database, self._cache, self._settings)
        log.info("tidied", jobs=tidied.jobs, leftovers=tidied.leftovers, copies=tidied.copies)
        return tidied

    def _run(self) -> None:
        every(self._settings.care_seconds, self._over, self.round, "tidying")

    def _lease_name(self) -> str:
        place = f"{socket.gethostname()}:{self._settings.jobs_dir}"
        return "tidying:" + hashlib.sha256(place.encode()).hexdigest()[:16]


def tidy(database: Database, cache: Cache, settings: Settings) -> Tidied:
    """One round: folders of jobs that ended `keep_logs_days` ago, leftovers after `gc_after_seconds`, old copies."""
    folders = {path.name: path for path in settings.jobs_dir.iterdir() if path.is_dir()}
    keep_seconds = settings.keep_logs_days * DAY
    with database.read() as session:
        store = SystemStore(session)
        forgotten, unknown = store.ended_before(sorted(folders), keep_seconds)
        ended, _ = store.ended_before(sorted(folders), settings.gc_after_seconds)
    # A folder nobody knows may be another installation's, by a wrong setting: only age decides.
    forgotten |= {job for job in unknown if _age_seconds(folders[job]) > keep_seconds}
    for job in forgotten:
        shutil.rmtree(folders[job], ignore_errors=True)
    leftovers = sum(_clear_attempts(folders[job]) for job in ended - forgotten)
    return Tidied(jobs=len(forgotten), leftovers=leftovers, copies=cache.forget_unused(keep_seconds))


def _clear_attempts(folder: Path) -> bool:
    """The log, the events and the outcome of each attempt stay."""
    found = [path for name in LEFT_BY_ATTEMPTS for path in folder.glob(f"*/{name}")]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return bool(found)


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
