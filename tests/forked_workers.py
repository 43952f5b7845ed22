"""Workers of the lanes `jobs` and `light` in a tenth of the time: one process with their imports done forks each.

A worker spends over a second on imports before it hears its first bell, and the faults start a hundred. What runs after
the fork is `worker.jobs_app.main`, in a session and a process of its own, so a `kill -9` is one, and the end of its
stdin is the end of its keeper. How a worker starts by its command is for the journeys to show.
"""

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import IO

from sqlalchemy.orm import configure_mappers

from models.domain.job import Lane
from tests.nursery import ROOT, Born

LARGEST_REQUEST = 1 << 17
NEEDED = (
    "celery.apps.worker", "celery.concurrency.thread", "celery.worker.consumer", "kombu.transport.redis", "psycopg",
    "worker.questions",
)  # fmt: skip


class Crew:
    """The warm process. One request, one answer."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.forked_workers", str(theirs.fileno())], stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self._socket = ours

    def ask(self, request: str, *fds: int) -> str:
        """Called by `Born`, too: "poll PID" answers with the exit code of one that has ended."""
        socket.send_fds(self._socket, [request.encode()], fds)
        said = self._socket.recv(LARGEST_REQUEST)
        assert said, "the crew has ended"
        return said.decode().strip()

    def start(self, lane: Lane, log: Path, environment: dict[str, str]) -> "Worker":
        """With output in `log`; its stdin is a pipe that the returned object holds open."""
        read, write = os.pipe()
        with log.open("ab") as output:
            pid = self.ask(json.dumps([lane, environment]), read, output.fileno())
        os.close(read)
        return Worker(self, int(pid), os.fdopen(write, "wb", buffering=0))

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


class Worker(Born):
    """A forked worker. Its `stdin` ends with the process that holds this object, as a keeper's does."""

    def __init__(self, crew: Crew, pid: int, stdin: IO[bytes]) -> None:
        super().__init__(crew, pid)
        self.stdin = stdin

    def poll(self) -> int | None:
        code = super().poll()
        if code is not None:
            self.stdin.close()
        return code


@functools.cache
def crew() -> Crew:
    """This test process's own, started when first needed."""
    opened = Crew()
    atexit.register(opened.close)
    return opened


def _serve(asked: socket.socket) -> str | None:
    """In the warm process None, once nobody asks any more; in each fork the lane it is to work on."""
    while True:
        request, fds, _, _ = socket.recv_fds(asked, LARGEST_REQUEST, 2)
        match request.decode().split(maxsplit=1):
            case []:
                return None
            case ["poll", pid]:
                ended, status = os.waitpid(int(pid), os.WNOHANG)
                asked.send((str(os.waitstatus_to_exitcode(status)) if ended else " ").encode())
            case _:
                assert threading.active_count() == 1, "a thread would be lost in the fork"
                lane, environment = json.loads(request)
                if not (pid := os.fork()):
                    asked.close()
                    _become(fds, environment)
                    return lane
                while os.getpgid(pid) != pid:  # whoever hears of it may kill its group
                    time.sleep(0.0005)
                for fd in fds:
                    os.close(fd)
                asked.send(str(pid).encode())


def _become(fds: list[int], environment: dict[str, str]) -> None:
    os.setsid()
    stdin, output = fds
    for fd, number in ((stdin, 0), (output, 1), (output, 2)):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)


def _main() -> None:
    for name in NEEDED:
        import_module(name)
    from models.domain.errors import AppError
    from worker.jobs_app import main

    configure_mappers()
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        lane = _serve(asked)
    if lane is not None:
        try:
            main(Lane(lane))
        except AppError as error:
            sys.exit(error.message)


if __name__ == "__main__":
    _main()
