"""Says at submit time that a training will have to wait for disk, where its worker's disk is this machine's."""

import shutil
import socket

from models.db.store.system import SystemStore
from models.domain.disk import no_room, training_bytes
from models.domain.job import Lane
from webapp.deps import Deps


def note_of_disk(deps: Deps, system: SystemStore, trainable: int) -> str | None:
    """None where it fits, or where only a worker on another machine can tell: that one holds the job itself."""
    live = system.workers(deps.settings.lease_seconds)
    if not any(worker.lane == Lane.JOBS and worker.host == socket.gethostname() for worker in live):
        return None
    free_bytes = shutil.disk_usage(deps.settings.data_dir).free
    return no_room(free_bytes, training_bytes(trainable), "Two checkpoints and the adapter")
