"""Runs the child of one job directory to its end beside a person: its lease is that this process lives. No torch.

Tells what the child says as it says it, ends it when it is asked to or takes too much memory, and measures its memory.
"""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from models.domain.errors import Code, JobFailed, from_json
from models.domain.progress import Said
from worker.jobdir import JobDir, Outcome
from worker.spawn import Child, spawn

LOOK_EVERY_SECONDS = 0.05
FEED_EVERY_SECONDS = 1.0
MEMORY_EVERY_SECONDS = 0.25
GRACE_SECONDS = 120.0  # from the wish to stop to the end by force: an evaluation may be under way
TEARDOWN_SECONDS = 30.0  # an outcome is written and the process still runs: GPU teardown can hang (unsloth#7938)


class Stopping(Protocol):
    """How often a person has asked for the end: once for a checkpoint, twice for now."""

    def times(self) -> int: ...


class Asked:
    """Counts wishes to stop, from signals and from threads."""

    def __init__(self) -> None:
        self._lock, self._times = threading.Lock(), 0

    def ask(self) -> None:
        with self._lock:
            self._times += 1

    def times(self) -> int:
        return self._times


class Interrupted(Exception):
    """A person asked for the end, and the child has ended."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """`peak_bytes` is the child's resident memory at its highest."""

    outcome: Outcome
    peak_bytes: int


def follow(jobdir: JobDir, threads: int, limit_bytes: int, stop: Stopping, tell: Callable[[Said], None]) -> Followed:
    """Spawn, feed, listen. Raises Interrupted, and JobFailed where the child failed or was lost."""
    watch = _Watch(jobdir, limit_bytes, stop, tell)
    child = spawn(jobdir, threads)
    try:
        exit_code = watch.until_it_ends(child)
    finally:
        child.reap()
    watch.listen()
    outcome = jobdir.outcome()
    if outcome is not None and outcome.status == "succeeded":
        return Followed(outcome=outcome, peak_bytes=watch.peak_bytes)
    if watch.is_too_large:
        raise _too_large(limit_bytes)
    if outcome is not None and outcome.status == "failed":
        assert outcome.error is not None
        raise from_json(outcome.error)
    if stop.times() or outcome is not None:
        raise Interrupted
    how = f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
    raise JobFailed(
        f"the training process ended without a result ({how}); {jobdir.log} may say why. Add --resume to go on.",
        code=Code.CHILD_DIED,
    )


class _Watch:
    """What is known of one child while it runs."""

    def __init__(self, jobdir: JobDir, limit_bytes: int, stop: Stopping, tell: Callable[[Said], None]) -> None:
        self._jobdir, self._limit_bytes, self._stop, self._tell = jobdir, limit_bytes, stop, tell
        self._offset = jobdir.events.stat().st_size if jobdir.events.exists() else 0
        self.peak_bytes, self.is_too_large = 0, False

    def listen(self) -> None:
        said, self._offset = self._jobdir.said_since(self._offset)
        for one in said:
            self._tell(one)

    def until_it_ends(self, child: Child) -> int:
        fed_at = measured_at = 0.0
        kill_at = ended_at = None
        while not child.has_ended:
            now = time.monotonic()
            if now >= fed_at + FEED_EVERY_SECONDS:
                fed_at = now
                child.feed()
            if now >= measured_at + MEMORY_EVERY_SECONDS:
                measured_at = now
                self._measure(child)
            if self._stop.times() and kill_at is None:
                kill_at = now + GRACE_SECONDS
                self._jobdir.ask_to_stop(None)
                child.ask_to_end()
            if ended_at is None and self._jobdir.outcome() is not None:
                ended_at = now
            is_late = (kill_at is not None and now >= kill_at) or (ended_at and now > ended_at + TEARDOWN_SECONDS)
            if is_late or self.is_too_large or self._stop.times() > 1:
                child.kill()
            self.listen()
            time.sleep(LOOK_EVERY_SECONDS)
        return child.reap()

    def _measure(self, child: Child) -> None:
        self.peak_bytes = max(self.peak_bytes, _peak_bytes(child.pid))
        self.is_too_large = self.is_too_large or child.resident_bytes() > self._limit_bytes


def _peak_bytes(pid: int) -> int:
    """Of its whole life so far where the kernel keeps that, else of this moment; 0 where it has just gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return psutil.Process(pid).memory_info().rss
    except (OSError, psutil.Error):
        return 0


def _too_large(limit_bytes: int) -> JobFailed:
    return JobFailed(
        f"the training used more than the {limit_bytes / 10**9:.1f} GB of memory that it may take here and was "
        "stopped. Use fewer rows per forward pass, a shorter max_length or a smaller base, then start it again.",
        code=Code.OUT_OF_MEMORY,
        allowed_bytes=limit_bytes,
    )
