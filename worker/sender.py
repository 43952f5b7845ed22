"""A process that speaks to one tracker about one run, seen from the worker: ask and wait, so long and no longer.

Whatever its library does (hang, crash, print, change the environment) ends with the process. Knows no database.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.infra.quiet import QUIET
from worker.trackers.base import Opening

KEPT = (
    "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip
COMMAND = (sys.executable, "-P", "-m", "worker.trackers")


class TrackerProblem(Exception):
    """A sentence: why the tracker did not take what it was told."""


class Sender:
    """Start it, open it, ask it, end it. `told_at`: time.monotonic() of the last answer."""

    def __init__(self, opening: Opening, home: Path, seconds: float) -> None:
        self._seconds = seconds
        self._buffer = b""
        self._asking = threading.Lock()
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=home,
            env=_environment(home), start_new_session=True,
        )  # fmt: skip
        self._opening = opening
        self.told_at = time.monotonic()

    def open(self) -> dict[str, Any]:
        """The first answer. Raises TrackerProblem."""
        return self._ask(self._opening.model_dump(mode="json"))

    def ask(self, do: str, **message: Any) -> dict[str, Any]:
        """The answer. Raises TrackerProblem; then this sender is of no more use."""
        return self._ask({"do": do, **message})

    def end(self) -> None:
        """Kill it and whatever it started. What it had answered is told, the rest is not."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._close()

    def _close(self) -> None:
        """Not under whoever waits for an answer: a pipe that is closed meanwhile never wakes them. They see it end."""
        if self._asking.acquire(blocking=False):
            try:
                for pipe in (self._process.stdin, self._process.stdout):
                    if pipe is not None and not pipe.closed:
                        pipe.close()
            finally:
                self._asking.release()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """One at a time."""
        try:
            with self._asking:
                return self._asked(message)
        finally:
            if self._process.returncode is not None:  # ended meanwhile
                self._close()

    def _asked(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._process.returncode is not None:
            raise TrackerProblem("the process that speaks to it has ended.")
        deadline = time.monotonic() + self._seconds
        try:
            self._write(json.dumps(message).encode() + b"\n", deadline)
            answer = json.loads(self._line(deadline))
        except (OSError, ValueError):
            raise TrackerProblem("the process that speaks to it ended without an answer.") from None
        self.told_at = time.monotonic()
        if "problem" in answer:
            raise TrackerProblem(answer["problem"])
        return answer

    def _write(self, data: bytes, deadline: float) -> None:
        """Bounded too: a process that hangs does not read."""
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        os.set_blocking(pipe, False)
        while data:
            self._wait(pipe, selectors.EVENT_WRITE, deadline)
            data = data[os.write(pipe, data) :]

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            self._wait(self._process.stdout.fileno(), selectors.EVENT_READ, deadline)
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            if not read:
                raise OSError("it ended")
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _wait(self, pipe: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TrackerProblem(f"it did not answer within {self._seconds:.0f} s.")


def _environment(home: Path) -> dict[str, str]:
    """Made from nothing: no settings of ours, no credentials of whoever started the worker."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **QUIET}
    root = Path(__file__).resolve().parents[1]
    if root.name not in ("site-packages", "dist-packages"):
        environment["PYTHONPATH"] = str(root)
    return environment
