"""One `up` per data directory: a file lock, and beside it the record that says who holds it and what runs.

Knows files and process ids; starts nothing.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, Field, ValidationError

from models.domain.errors import Conflict
from webapp.kept import PartRecord, kill_group

RECORD_WAIT_SECONDS = 3.0
LEFTOVER_WAIT_SECONDS = 10.0


class KeeperRecord(BaseModel):
    """`run/keeper.json`: who keeps this installation, where it answers, what it runs."""

    pid: int
    url: str
    started_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    parts: tuple[PartRecord, ...] = ()

    @classmethod
    def of_this_process(cls, url: str) -> "KeeperRecord":
        return cls(pid=os.getpid(), url=url)

    @property
    def is_live(self) -> bool:
        return psutil.pid_exists(self.pid)


def record_path(data_dir: Path) -> Path:
    return data_dir / "run" / "keeper.json"


def read_record(data_dir: Path) -> KeeperRecord | None:
    """None when nobody ever kept this directory, or the record was cut short."""
    try:
        return KeeperRecord.model_validate_json(record_path(data_dir).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_record(data_dir: Path, record: KeeperRecord) -> None:
    """By rename: a reader sees the old record or the new one."""
    path = record_path(data_dir)
    staged = path.with_suffix(".tmp")
    staged.write_text(record.model_dump_json(indent=1))
    staged.replace(path)


@contextmanager
def ownership(data_dir: Path) -> Iterator[None]:
    """Hold the directory. Raises Conflict naming the holder's process and address if somebody else does.

    The kernel gives the lock back when its holder dies, however it dies; what a killed holder started and has
    not ended yet is ended here, before anything of ours starts.
    """
    path = record_path(data_dir).with_name("up.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(data_dir) from None
        _end_leftovers(data_dir)
        try:
            yield
        finally:
            record_path(data_dir).unlink(missing_ok=True)


def _held(data_dir: Path) -> Conflict:
    deadline = time.monotonic() + RECORD_WAIT_SECONDS
    while (record := read_record(data_dir)) is None or not record.is_live:
        if time.monotonic() > deadline:
            return Conflict(f"Another `tuneroom up` is just starting on {data_dir}. Wait for it, or use --data-dir.")
        time.sleep(0.1)
    return Conflict(
        f"Tuneroom already runs on {data_dir}: process {record.pid}, {record.url}. Use that one, end it with "
        f"`kill {record.pid}`, or choose another --data-dir."
    )


def _end_leftovers(data_dir: Path) -> None:
    """Wait for processes of a killed keeper, which end by themselves; KILL those that do not."""
    record = read_record(data_dir)
    left = _still_running(record) if record else []
    if left:
        _, left = psutil.wait_procs(left, timeout=LEFTOVER_WAIT_SECONDS)
    for process in left:
        kill_group(process.pid)
    record_path(data_dir).unlink(missing_ok=True)


def _still_running(record: KeeperRecord) -> list[psutil.Process]:
    """Recorded processes that are still ours: the leader of its own group, started when the record says."""
    found = []
    for part in record.parts:
        try:
            if part.pid is not None and os.getpgid(part.pid) == part.pid and part.started_at is not None:
                process = psutil.Process(part.pid)
                if abs(process.create_time() - part.started_at.timestamp()) < 2:
                    found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
