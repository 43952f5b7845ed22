"""Children of jobs in a tenth of the time: one process that has torch loaded and forks, for each job, what a child is.

A child spends six seconds on imports before it reads its order; tests that kill forty of them wait for little else.
What runs after the fork is `worker.child.main` on a real process of its own, so a `kill -9` is one.
How a child starts, and what it is given, is for `tests/worker/test_child.py` and the journeys to show.
"""

import atexit
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[1]
POLL_SECONDS = 0.005


class Answering(Protocol):
    def ask(self, request: str) -> str: ...


class Born:
    """A forked child, with the part of Popen that tests use."""

    def __init__(self, nursery: Answering, pid: int) -> None:
        self._nursery, self.pid, self.returncode = nursery, pid, None

    def poll(self) -> int | None:
        if self.returncode is None:
            said = self._nursery.ask(f"poll {self.pid}")
            self.returncode = int(said) if said else None
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a child of the nursery", timeout)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Its number stays taken until it is polled, so no stranger can be hit."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The warm process. One request, one answer, a line each."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            bufsize=1, env=environment,
        )  # fmt: skip

    def ask(self, request: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(request, file=self._process.stdin, flush=True)
        said = self._process.stdout.readline()
        assert said, "the nursery has ended"
        return said.strip()

    def bear(self, jobdir: Path, log: Path) -> Born:
        """Run the job in `jobdir`, alone, with its output in `log`. Paths without spaces."""
        return Born(self, int(self.ask(f"bear {jobdir} {log}")))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@functools.cache
def nursery() -> Nursery:
    """This test process's own, started when first needed."""
    opened = Nursery()
    atexit.register(opened.close)
    return opened


def _main() -> None:
    from worker.importing import importing

    with importing():
        import worker.child
        import worker.merge.run
        import worker.train.run  # noqa: F401 - what a child would import by itself
    for line in sys.stdin:
        match line.split():
            case ["poll", pid]:
                ended, status = os.waitpid(int(pid), os.WNOHANG)
                print(os.waitstatus_to_exitcode(status) if ended else "", flush=True)
            case ["bear", jobdir, log]:
                pid = os.fork()
                if not pid:
                    _live(jobdir, log)
                print(pid, flush=True)


def _live(jobdir: str, log: str) -> None:
    """Never returns."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream, number in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(stream, number)
    import worker.child

    worker.child.main([jobdir, "--alone"])


if __name__ == "__main__":
    _main()
