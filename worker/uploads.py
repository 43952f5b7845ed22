"""Uploads checkpoints while their child goes on working, so that another machine can resume. Knows no child.

An upload that fails costs a resume point, never the job: the next checkpoint is tried again.
"""

import threading
from contextlib import suppress

import structlog

from models.db.tables import Job
from models.domain.errors import LeaseLost
from models.domain.progress import CheckpointSaved
from models.infra.storage import Storage
from worker.jobdir import JobDir
from worker.lease import Lease
from worker.settling import blobs_of

log = structlog.get_logger()


class Uploads:
    """One thread per attempt, fed by the lease with every checkpoint the child has said."""

    def __init__(self, lease: Lease, storage: Storage, scope: str, job: Job, jobdir: JobDir) -> None:
        self._lease = lease
        self._storage = storage
        self._scope = scope
        self._job = job
        self._jobdir = jobdir
        self._thread = threading.Thread(target=self._run, name=f"uploads-{job.id}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what was said so far. Raises LeaseLost when it is no use any more."""
        self.end()
        while self._thread.is_alive():
            self._lease.check()
            self._thread.join(0.1)

    def end(self) -> None:
        """Nothing more will be said."""
        self._lease.checkpoints.put(None)

    def _run(self) -> None:
        with suppress(LeaseLost):
            while (saved := self._lease.checkpoints.get()) is not None:
                self._upload(saved)

    def _upload(self, saved: CheckpointSaved) -> None:
        directory = (self._jobdir.root / saved.directory).resolve()
        if not directory.is_relative_to(self._jobdir.checkpoints.resolve()):
            log.warning("checkpoint outside its directory", job=self._job.id, fence=self._job.fence)
            return
        try:
            ref, listing = self._storage.put_tree(self._scope, directory)
        except Exception:
            # Removed meanwhile by the child's own rotation, or storage away, in whatever words its driver has.
            log.warning("checkpoint not uploaded", job=self._job.id, step=saved.step, exc_info=True)
            return
        self._lease.write(
            lambda store: store.checkpoint_saved(
                self._job.id, self._job.fence, step=saved.step, scope=ref.scope, tree_sha256=ref.sha256,
                size=listing.total_bytes, blobs=blobs_of(ref, listing),
            )
        )  # fmt: skip
        log.info("checkpoint uploaded", job=self._job.id, fence=self._job.fence, step=saved.step)
