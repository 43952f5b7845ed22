"""Keeps one child process with its libraries loaded, waiting for a directory. Knows no job and no database.

A child spends four to six seconds on importing torch, transformers and PEFT. One that has done so before a job comes
saves them; it takes one job like any other child, and the next one is prepared when that job has ended, so that jobs
stay as far from each other as without it.
"""

import subprocess
import sys
import threading
from pathlib import Path

import structlog

from models.domain.job import JobKind
from models.infra.host import host_bytes
from models.infra.settings import Settings
from worker.jobdir import JobDir
from worker.spawn import Child, child_environment, cores

KINDS = frozenset({JobKind.TRAIN, JobKind.MERGE})
LEAST_HOST_BYTES = 8 * 10**9  # under that the 0.4 GB of a process that waits are missed elsewhere

log = structlog.get_logger()


class Standby:
    """At most one waiting child, for one device and one thread count. Safe to share between slots."""

    def __init__(self, settings: Settings, device: str, home: Path) -> None:
        self._threads = settings.threads or max(1, cores() // settings.slots)
        self._device, self._home = device, home
        self._guard = threading.Lock()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def prepare(self) -> None:
        """Start a child that waits, unless one does."""
        with self._guard:
            if self._is_over or (self._waiting is not None and self._waiting.poll() is None):
                return
            self._home.mkdir(parents=True, exist_ok=True)
            self._waiting = subprocess.Popen(
                [
                    sys.executable, "-P", "-m", "worker.child", "--standby", "--device", self._device,
                    "--threads", str(self._threads),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._home,
                env=child_environment(self._home, self._threads), start_new_session=True,
            )  # fmt: skip

    def take(self, jobdir: JobDir, kind: JobKind, threads: int) -> Child | None:
        """The waiting child, at work on this directory; None where there is none that would do it the same way."""
        if kind not in KINDS or threads != self._threads:
            return None
        with self._guard:
            process, self._waiting = self._waiting, None
        if process is None:
            return None
        assert process.stdin is not None
        jobdir.log.touch()
        try:
            process.stdin.write(f"{jobdir.root}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            log.warning("standby ended by itself", exit_code=process.wait())
            return None
        return Child(process)

    def close(self) -> None:
        """End the waiting child; none is started any more."""
        with self._guard:
            self._is_over = True
            if self._waiting is not None:
                self._waiting.kill()
                self._waiting.wait()
                self._waiting = None


def standby_for(settings: Settings, device: str) -> Standby | None:
    """One where the settings want it; by themselves they do on hosts of 8 GB and more."""
    wanted = settings.warm_child
    if wanted == "off" or (wanted == "auto" and host_bytes() < LEAST_HOST_BYTES):
        return None
    return Standby(settings, device, settings.runtime_dir / "standby")
