"""Says in the database that a worker lives: a row at the start, `seen_at` now and then, `stopped_at` at the end.

`/readyz`, `doctor` and `worker health` read it. A database that is away stops nothing: it is told when it is back.
"""

import os
import socket
import threading

import structlog

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.tables import Worker
from models.domain.errors import Unavailable
from models.domain.ids import new_id
from models.domain.job import Lane
from models.infra.settings import Settings

log = structlog.get_logger()


class Presence:
    """One worker's row, kept fresh by a thread from `start` to `stop`."""

    def __init__(self, settings: Settings, database: Database, *, lane: Lane, device: str, slots: int) -> None:
        self.worker_id = new_id("worker")
        self._database = database
        self._row = {
            "host": socket.gethostname(), "pid": os.getpid(), "lane": lane, "device": device, "slots": slots,
        }  # fmt: skip
        self._every_seconds = min(settings.sweep_seconds, settings.lease_seconds / 3)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="presence", daemon=True)

    def start(self) -> "Presence":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        try:
            with self._database.write() as session:
                SystemStore(session).worker_stopped(self.worker_id)
        except Unavailable:
            log.warning("database away at the end", worker=self.worker_id)

    def _keep(self) -> None:
        is_registered = False
        while True:
            try:
                with self._database.write() as session:
                    store = SystemStore(session)
                    if is_registered:
                        store.worker_seen(self.worker_id)
                    else:
                        store.worker_started(Worker(id=self.worker_id, **self._row))
                is_registered = True
            except Unavailable as error:
                log.warning("not seen", worker=self.worker_id, why=error.message)
            if self._stopped.wait(self._every_seconds):
                return
