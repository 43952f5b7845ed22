"""One process that is kept alive: start, notice its end, start it again after a pause, end it with its group.

Knows one process and its log file, nothing of what runs in it or beside it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel

from models.domain.errors import AppError

LONGEST_PAUSE_SECONDS = 30.0
STEADY_AFTER_SECONDS = 60.0  # a process that lived this long starts its pauses from one second again
LARGEST_LOG_BYTES = 10_000_000

Start = Callable[[IO[bytes]], subprocess.Popen[bytes]]  # given its log; raises AppError where it cannot start


@dataclass(frozen=True, kw_only=True)
class Part:
    """What to keep. `stop_order`: lower numbers end first; `grace_seconds` from TERM to KILL of its group.

    With `is_ready`, the parts after it start once it is true, or after a while: the machine is its own until then.
    """

    name: str
    start: Start
    log: Path
    stop_order: int
    grace_seconds: float
    is_ready: Callable[[], bool] | None = None


def process(command: Sequence[str], environment: dict[str, str], inherited_fds: Sequence[int] = ()) -> Start:
    """Starts `command` in a session of its own. Its stdin is a pipe from us: end of file tells it that we are gone."""

    def start(log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, pass_fds=inherited_fds,
        )  # fmt: skip

    return start


class PartRecord(BaseModel):
    """A line of `keeper.json`: what `doctor` shows of one process."""

    name: str
    state: Literal["running", "waiting", "stopped"]
    pid: int | None
    started_at: datetime | None
    restarts: int
    last_exit: str | None
    restart_at: datetime | None


class Kept:
    """A part and its present process."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at: datetime | None = None
        self._restarts = 0
        self._last_exit: str | None = None
        self._failures = 0
        self._steady_from = 0.0  # monotonic, like _resume
        self._resume: float | None = None

    def start(self) -> None:
        """Raises AppError where the part cannot start at all."""
        self._resume = None
        self.part.log.parent.mkdir(parents=True, exist_ok=True)
        with self.part.log.open("ab") as log:
            self._process = self.part.start(log)
        self._started_at = datetime.now(UTC)
        self._steady_from = time.monotonic() + STEADY_AFTER_SECONDS

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def look(self) -> str | None:
        """Start again what has ended and waited long enough. Returns a sentence when something changed."""
        if self._resume is not None:
            return self._start_again() if time.monotonic() >= self._resume else None
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        if time.monotonic() >= self._steady_from:
            self._failures = 0
        return self._pause(in_words(code))

    def _start_again(self) -> str:
        self._restarts += 1
        try:
            self.start()
        except AppError as error:
            return self._pause(error.message)
        return f"{self.part.name} was started again (process {self.pid})."

    def _pause(self, why: str) -> str:
        pause = min(2.0**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures += 1
        self._forget()
        self._last_exit = why
        self._resume = time.monotonic() + pause
        return f"{self.part.name} ended ({why}); again in {pause:.0f} s. Its log: {self.part.log}"

    def ask_to_end(self) -> None:
        self._resume = None
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """True once it has ended; False if it still runs after `seconds`."""
        if self._process is None:
            return True
        try:
            self._last_exit = in_words(self._process.wait(timeout=seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def end_group(self) -> None:
        """KILL what is left of its process group, itself included."""
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()
            self._forget()

    def trim_log(self) -> None:
        """Keep what was said so far in `.1` and begin anew when it is long. Writers append, so cutting is safe."""
        if self.part.log.exists() and self.part.log.stat().st_size > LARGEST_LOG_BYTES:
            shutil.copyfile(self.part.log, self.part.log.with_suffix(".log.1"))
            os.truncate(self.part.log, 0)

    def record(self) -> PartRecord:
        pause = None if self._resume is None else self._resume - time.monotonic()
        return PartRecord(
            name=self.part.name, pid=self.pid, started_at=self._started_at, restarts=self._restarts,
            state="running" if self.is_running else "stopped" if pause is None else "waiting",
            restart_at=None if pause is None else datetime.now(UTC) + timedelta(seconds=pause),
            last_exit=self._last_exit,
        )  # fmt: skip

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


def kill_group(group: int) -> None:
    """KILL a process group; one that has ended already is what we wanted."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def in_words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
