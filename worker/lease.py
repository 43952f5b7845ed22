"""One attempt's hold on its job: beats, tails what the child says, and writes only while the job is ours.

A thread of its own, because staging and uploads may take longer than a lease. Knows the store and a job directory,
nothing of what the job does. Time is monotonic here: the database's clock decides about the row, ours about us.
"""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.tables import Job
from models.domain.errors import LeaseLost, Unavailable
from models.domain.job import CancelWish
from models.domain.progress import CheckpointSaved, Said
from models.infra.settings import Settings
from worker.jobdir import JobDir
from worker.log_tail import log_tail, paths_of_this_machine

LOG_EVERY_SECONDS = 5.0

T = TypeVar("T")

log = structlog.get_logger()


class Lease:
    """Enter it right after the claim; it beats until the last write, or until it is lost for good."""

    def __init__(self, database: Database, settings: Settings, job: Job, jobdir: JobDir, claimed_at: float) -> None:
        self._database = database
        self._settings = settings
        self._job_id, self._fence = job.id, job.fence
        self._jobdir = jobdir
        self._offset = 0
        self._log_size = 0  # of the log whose end is in the row
        self._log_read_at = -LOG_EVERY_SECONDS
        self._held_since = claimed_at  # time.monotonic() before the claim, so never later than the database's
        self._heard_at = time.monotonic()
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{job.id}", daemon=True)
        self.wish: CancelWish | None = None
        self.fault: Exception | None = None
        self.checkpoints: queue.SimpleQueue[CheckpointSaved | None] = queue.SimpleQueue()
        self.feed: Callable[[], None] | None = None

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: tuple[type[BaseException], BaseException, TracebackType]) -> None:
        self._over.set()
        self._thread.join()

    @property
    def is_lost(self) -> bool:
        """Another attempt owns the job, or could by now. Once true it stays true."""
        if time.monotonic() - self._held_since > self._settings.lease_seconds:
            self._lost.set()
        return self._lost.is_set()

    @property
    def silent_seconds(self) -> float:
        """Since the child last said something (or the watch was reset)."""
        return time.monotonic() - self._heard_at

    def hear(self) -> None:
        """Start counting the child's silence anew."""
        self._heard_at = time.monotonic()

    def check(self) -> None:
        """Raise LeaseLost when the job is not ours any more."""
        if self.is_lost:
            raise self._gone()

    def read(self, look: Callable[[SystemStore], T]) -> T:
        """Ask the database, as often as it takes while the job is ours."""

        def ask() -> T:
            with self._database.read() as session:
                return look(SystemStore(session))

        return self._patiently(ask)

    def write(self, change: Callable[[SystemStore], T]) -> T:
        """One fenced transaction, as often as it takes. Raises LeaseLost; then nothing was written."""

        def tell() -> T:
            with self._database.write() as session:
                return change(SystemStore(session))

        return self._patiently(tell)

    def write_last(self, change: Callable[[SystemStore], T]) -> T:
        """As `write`, with all that the child said in the same transaction; afterwards nothing is written any more."""

        def last() -> T:
            with self._turn:
                said, offset = self._jobdir.said_since(self._offset)
                _, tail = self._log()
                with self._database.write() as session:
                    store = SystemStore(session)
                    store.record(self._job_id, self._fence, said, log_tail=tail)
                    result = change(store)
                self._offset = offset
                self._over.set()
                return result

        return self._patiently(last)

    def beat(self) -> None:
        """Extend the lease, record what was said, and let the child live on. Silent when the database is away."""
        with self._turn:
            if self._over.is_set() or self.is_lost:
                return
            began = time.monotonic()
            said, offset = self._jobdir.said_since(self._offset)
            log_size, tail = self._log() if began - self._log_read_at >= LOG_EVERY_SECONDS else (self._log_size, None)
            try:
                with self._database.write() as session:
                    store = SystemStore(session)
                    wish = store.beat(self._job_id, self._fence, self._settings.lease_seconds)
                    store.record(self._job_id, self._fence, said, log_tail=tail)
            except LeaseLost:
                self._lost.set()
                return
            except Unavailable as error:
                log.warning("heartbeat failed", job=self._job_id, fence=self._fence, why=error.message)
                return
            self._held_since, self._offset, self.wish = began, offset, wish
            if tail is not None:
                self._log_size, self._log_read_at = log_size, began
            self._pass_on(said)
        if self.feed is not None:
            self.feed()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._settings.heartbeat_seconds):
                self.beat()
        except Exception as error:  # a thread's door: the attempt must learn why nobody beats
            log.exception("lease broken", job=self._job_id, fence=self._fence)
            self.fault = error

    def _log(self) -> tuple[int, str | None]:
        """The size of the child's log, and its end where it has grown since the row was written."""
        try:
            size = self._jobdir.log.stat().st_size
        except FileNotFoundError:
            return self._log_size, None
        if size == self._log_size:
            return size, None
        return size, log_tail(self._jobdir.log, paths_of_this_machine(self._jobdir.root, self._settings.data_dir))

    def _pass_on(self, said: list[Said]) -> None:
        if said:
            self.hear()
        for item in said:
            if isinstance(item, CheckpointSaved):
                self.checkpoints.put(item)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        while True:
            self.check()
            try:
                return attempt()
            except Unavailable as error:
                log.warning("database away, trying again", job=self._job_id, fence=self._fence, why=error.message)
                time.sleep(self._settings.heartbeat_seconds)

    def _gone(self) -> LeaseLost:
        return LeaseLost(f"attempt {self._fence} of {self._job_id} no longer owns the job.", fence=self._fence)
