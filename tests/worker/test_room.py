"""A job does not start on a disk that cannot hold it, says so, and goes on by itself when there is room.

On a real small file system (tmpfs) where this machine lets one be mounted, and skipped with the reason where not.
"""

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Job, JobEvent, Worker
from models.domain.disk import merge_bytes, training_bytes
from models.domain.errors import Code, JobFailed
from models.domain.job import HeldReason, JobKind, JobState, Lane
from models.domain.merging import StorageDtype
from models.domain.training import TrainingSpec
from models.infra.broker import Broker
from models.infra.settings import Settings
from models.infra.storage import Storage
from models.infra.sweep import Sweeper, has_room
from tests.harness import TENTH
from tests.people import make_member
from tests.worker.test_staging import Bench
from webapp.actions.start_training import start_training
from webapp.deps import Deps
from worker.cache import Cache
from worker.staging import stage
from worker.supervise import Desk, supervise

SMALL_BYTES = 4 << 20  # less than any training needs
LARGE_BYTES = 64 << 20


class Disk:
    """A file system of its own that can grow."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, size: int) -> None:
        self._run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.place))

    def grow(self, size: int) -> None:
        self._run("mount", "-o", f"remount,size={size}", str(self.place))

    def unmount(self) -> None:
        self._run("umount", "-l", str(self.place))

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "small")
    made.place.mkdir()
    try:
        made.mount(SMALL_BYTES)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")
    yield made
    made.unmount()


@pytest.fixture
def bench(database, database_url, tmp_path, disk) -> Bench:
    """Everything on a large disk but the data directory of the worker."""
    made = Bench(database, tmp_path)
    storage = f"file://{tmp_path / 'storage'}"
    made.settings = Settings(data_dir=disk.place, database_url=database_url, storage_url=storage, **TENTH)
    made.settings.jobs_dir.mkdir()
    made.storage = Storage(storage)
    made.cache = Cache(made.settings, made.storage)
    return made


def test_bytes_are_counted_from_what_is_trained_and_from_what_is_written():
    one, two = training_bytes(10**6), training_bytes(2 * 10**6)
    assert two - one == 10**6 * (2 * 3 * 4 + 4)  # two checkpoints of weight and two moments, and the adapter
    assert merge_bytes(10**9, StorageDtype.FP32) - merge_bytes(10**9, StorageDtype.BF16) == 2 * 10**9


def test_a_training_is_held_before_anything_is_copied(bench):
    base = bench.add_base()
    job, jobdir = bench.train(base, training_file=bench.add_file("rows.jsonl"))
    with pytest.raises(JobFailed, match="Two checkpoints and the adapter need 5 MB of disk and 4 MB are free") as held:
        stage(bench.shelf(job, jobdir), job, jobdir)
    assert held.value.code is Code.DISK_FULL
    assert list(jobdir.inputs.iterdir()) == []


def test_a_job_held_for_want_of_disk_says_so_and_goes_on_by_itself(bench, disk, database):
    base = bench.add_base()
    file = bench.add_file("rows.jsonl")
    with database.write() as session:
        spec = {"base": base.id, "data": {"training_file": file}}
        job = bench.system(session).submit(JobKind.TRAIN, spec).id
    supervise(desk(bench, database), claim(database), time.monotonic())
    state, reason, said = look(database, job)
    assert (state, reason) == (JobState.QUEUED, HeldReason.DISK)
    assert "Two checkpoints and the adapter need" in said and "goes on by itself" in said
    assert claim(database) is None
    away = Broker(bench.settings)
    sweeper = Sweeper(database, away, bench.settings)
    sweeper.sweep()
    assert look(database, job)[1] == HeldReason.DISK
    disk.grow(LARGE_BYTES)
    Sweeper(database, away, bench.settings, has_workers_disk=False).sweep()
    assert look(database, job)[1] == HeldReason.DISK  # the web process's disk says nothing about this one
    sweeper.sweep()
    assert look(database, job)[1] is None
    claimed = claim(database)
    assert claimed is not None and claimed.id == job and claimed.attempts == 0
    away.close()


def test_a_submitted_training_says_at_once_that_it_will_wait_for_disk(bench, disk, database):
    base, file = bench.add_base(), bench.add_file("rows.jsonl")
    spec = TrainingSpec.model_validate({"base": base.id, "data": {"training_file": file}})
    deps, member = Deps.open(bench.settings), make_member(database)
    try:
        elsewhere = start_training(deps, member, spec).job.id
        with database.write() as session:  # a worker that shares this machine's disk
            SystemStore(session).worker_started(
                Worker(id="w", host=socket.gethostname(), pid=1, lane="jobs", device="cpu", slots=1)
            )
        waits = start_training(deps, member, spec).job.id
        disk.grow(LARGE_BYTES)
        fits = start_training(deps, member, spec).job.id
    finally:
        deps.close()
    with database.read() as session:
        store = TeamStore(session, member)
        said = {job: [event.message for event in store.events(job, limit=9).items] for job in (elsewhere, waits, fits)}
    assert len(said[elsewhere]) == len(said[fits]) == 1
    assert "Two checkpoints and the adapter need 5 MB of disk and 4 MB are free" in said[waits][0]


def test_what_a_job_needs_decides_when_it_is_known(bench, disk):
    assert has_room(bench.settings, 1 << 20) and not has_room(bench.settings, SMALL_BYTES)
    disk.grow(LARGE_BYTES)
    assert has_room(bench.settings, SMALL_BYTES)


def desk(bench, database) -> Desk:
    return Desk(
        settings=bench.settings, database=database, storage=bench.storage, cache=bench.cache, device="cpu",
        drain=threading.Event(),
    )  # fmt: skip


def claim(database) -> Job | None:
    with database.write() as session:
        return SystemStore(session).claim(Lane.JOBS, "worker-test", 30)


def look(database, job_id: str) -> tuple[str, str | None, str]:
    with database.read() as session:
        job = session.get_one(Job, job_id)
        store = TeamStore(session, SystemStore(session).principal())
        moves: list[JobEvent] = [event for event in store.events(job_id, limit=50).items if event.type == "moved"]
        return job.state, job.held_reason, moves[0].message
