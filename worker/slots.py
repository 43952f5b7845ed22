"""Claims jobs of one lane into a fixed number of slots, whoever rings. Knows no broker and nothing of what a job does.

Bells come from the broker; `look` comes from a clock, so that jobs start also while the broker is away. Of several
slots of the lane light one is kept for quick jobs: nobody's upload waits behind a download or a long gate.
"""

import threading
import time

import structlog

from models.db.store.system import SystemStore
from models.db.tables import Job
from models.domain.errors import Unavailable
from models.domain.job import QUICK_PRIORITY, Lane
from worker.supervise import Desk, supervise

FREE_EVERY_SECONDS = 0.2

log = structlog.get_logger()


class Slots:
    """As many jobs at once as the settings say."""

    def __init__(self, desk: Desk, lane: Lane, worker_id: str) -> None:
        self._desk = desk
        self._lane = lane
        self._worker_id = worker_id
        self._free = threading.BoundedSemaphore(desk.settings.slots)
        self._waiter = threading.Lock()
        self._choosing = threading.Lock()
        self._keeps_a_slot = lane is Lane.LIGHT and desk.settings.slots > 1
        self._slow: set[str] = set()  # jobs of ours that people do not wait for
        self._busy = 0
        self._count = threading.Lock()

    @property
    def are_idle(self) -> bool:
        return self._busy == 0

    def answer(self) -> None:
        """A bell rang: work in a free slot until nothing is claimable. Waits for a slot; a drain ends the wait.

        One bell waits for all: who rings meanwhile goes at once, so that bells leave threads to other messages.
        """
        if self._free.acquire(blocking=False) or self._has_waited():
            self._work()

    def look(self) -> None:
        """Nobody rang: if a slot is free and work waits, work in a thread of our own."""
        if self._desk.drain.is_set() or not self._waiting() or not self._free.acquire(blocking=False):
            return
        threading.Thread(target=self._work, name=f"slot-{self._lane}", daemon=True).start()

    def _has_waited(self) -> bool:
        """True with a slot; False where another bell waits already, and will find our job, or a drain began."""
        if not self._waiter.acquire(blocking=False):
            return False
        try:
            while not self._desk.drain.is_set():
                if self._free.acquire(timeout=FREE_EVERY_SECONDS):
                    return True
            return False
        finally:
            self._waiter.release()

    def _work(self) -> None:
        with self._count:
            self._busy += 1
        try:
            while not self._desk.drain.is_set() and (claimed := self._claim()) is not None:
                try:
                    supervise(self._desk, *claimed)
                finally:
                    self._slow.discard(claimed[0].id)
        except Unavailable as error:
            log.warning("nothing claimed", lane=self._lane, why=error.message)
        finally:
            with self._count:
                self._busy -= 1
            self._free.release()

    def _claim(self) -> tuple[Job, float] | None:
        with self._choosing:  # of two slots that choose at once, one leaves a slow job to the other
            claimed_at = time.monotonic()
            # Who works on the last slow job goes on with the next one, so none is forgotten.
            least = QUICK_PRIORITY if self._keeps_a_slot and len(self._slow) >= self._desk.settings.slots - 1 else None
            with self._desk.database.write() as session:
                store = SystemStore(session)
                job = store.claim(self._lane, self._worker_id, self._desk.settings.lease_seconds, least)
            if job is None:
                return None
            if job.priority < QUICK_PRIORITY:
                self._slow.add(job.id)
        log.info("job claimed", job=job.id, kind=job.kind, fence=job.fence, attempts=job.attempts)
        return job, claimed_at

    def _waiting(self) -> bool:
        with self._desk.database.read() as session:
            return SystemStore(session).claimable(self._lane) > 0
