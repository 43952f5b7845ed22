"""The sweep: takes back the jobs of dead workers and rings lanes that have work and too few bells.

Runs in every web and worker process; a lease in the database lets one of them sweep at a time, so the death of
any process stops nothing. Knows no child and no queue format.
"""

import shutil
import threading

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.errors import Unavailable
from models.domain.ids import new_id
from models.domain.job import HeldReason, JobState, Lane
from models.infra.broker import Broker
from models.infra.settings import Settings

LEASE_NAME = "sweep"
LANES = (Lane.JOBS, Lane.LIGHT)  # chat has no rows: an unanswered question ends at its deadline
FREE_SHARE = 0.1  # of the disk, before jobs that ran out of it go on
FREE_BYTES = 20 * 10**9
MORE_THAN_NEEDED = 1.1  # a job that goes on with just enough would be held again at once

log = structlog.get_logger()


class Sweeper:
    """A thread that sweeps each `sweep_seconds` while this process holds the sweep's lease."""

    def __init__(
        self, database: Database, broker: Broker, settings: Settings, *, has_workers_disk: bool = True
    ) -> None:
        self._has_workers_disk = has_workers_disk
        self._database = database
        self._broker = broker
        self._settings = settings
        self._owner = new_id("sweep")
        self._over = threading.Event()
        self._broker_is_away = False
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> "Sweeper":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def sweep(self) -> list[tuple[str, JobState]]:
        """One round: jobs taken back, with their new states. Empty while another process holds the lease.

        Each worker looks at its own disk, lease or not: another process may be on another machine.
        """
        if self._has_workers_disk:
            self._let_go_on()
        seconds = self._settings.sweep_seconds
        with self._database.write() as session:
            store = SystemStore(session)
            if not store.take_lease(LEASE_NAME, self._owner, 1.5 * seconds):
                return []
            moved = store.sweep(self._settings.max_attempts)
        for job_id, state in moved:
            log.warning("job taken back", job=job_id, state=state)
        self._ring()
        return moved

    def _run(self) -> None:
        while not self._over.wait(self._settings.sweep_seconds):
            try:
                self.sweep()
            except Unavailable as error:
                log.warning("sweep skipped", why=error.message)
            except Exception:  # a thread's door: a sweep that fails once must not be the last
                log.exception("sweep failed")

    def _let_go_on(self) -> None:
        with self._database.read() as session:
            if not SystemStore(session).are_held(HeldReason.DISK):
                return
        with self._database.write() as session:
            going = SystemStore(session).let_go_on(HeldReason.DISK, lambda needed: has_room(self._settings, needed))
        if going:
            log.info("jobs go on: the disk has room", jobs=going)

    def _ring(self) -> None:
        """As many bells as there is claimable work and there are live slots; a full list is enough of a hint."""
        for lane in LANES:
            with self._database.read() as session:
                store = SystemStore(session)
                waiting = store.claimable(lane)
                slots = store.live_slots(lane, self._settings.lease_seconds)
            if not waiting:
                continue
            try:
                for _ in range(min(waiting, max(slots, 1)) - self._broker.bells(lane)):
                    self._broker.ring(lane)
                self._broker_is_away = False
            except Unavailable:
                if not self._broker_is_away:  # said once: workers look into the database themselves meanwhile
                    log.warning("broker away", lane=lane)
                self._broker_is_away = True


def has_room(settings: Settings, needed_bytes: int | None = None) -> bool:
    """Enough of the disk is free: for what a job said it needs and a little more, else a good part of the whole."""
    usage = shutil.disk_usage(settings.data_dir)
    wanted = min(FREE_BYTES, FREE_SHARE * usage.total) if needed_bytes is None else MORE_THAN_NEEDED * needed_bytes
    return usage.free >= wanted
