"""A whole installation for the length of a `with`: `tuneroom up` headless on a free port, and a key to it.

The demo and the journey tests use it. Knows the command line, nothing of what is asked of the app.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.domain.errors import AppError, Code, Unavailable
from models.infra.lifeline import KEPT
from webapp.health import is_healthy
from webapp.ownership import read_record
from webapp.processes import bare_environment, tuneroom_command

ANSWER_SECONDS = 60.0  # many times what `up` needs, so that only a broken start runs into it
END_SECONDS = 90.0
LOOK_EVERY_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where it answers, and the command line of this installation."""

    data_dir: Path
    url: str
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def tuneroom(self, *arguments: str) -> str:
        """Run a command beside the app and return its last line. Raises AppError with what it said on stderr."""
        done = subprocess.run(
            tuneroom_command(*arguments, "--data-dir", str(self.data_dir)), env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise AppError(f"`tuneroom {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout.splitlines()[-1]

    def new_key(self, email: str) -> str:
        """Add a person and create a key for them."""
        self.tuneroom("user", "add", email, "--role", "owner")
        return self.tuneroom("key", "create", "--user", email)


@contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[Running]:
    """`up` with its embedded defaults and these settings (TUNEROOM_<NAME>); stopped, whatever happens inside.

    Raises Unavailable where it does not answer; its output is in logs/up.log.
    """
    log = data_dir / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    env = bare_environment() | {f"TUNEROOM_{name.upper()}": value for name, value in settings.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            tuneroom_command("up", "--port", "0", "--no-open", "--data-dir", str(data_dir)), env=env | {KEPT: "1"},
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield Running(data_dir=data_dir, url=_url(data_dir, process), process=process, environment=env)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its processes notice and end by themselves
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def eventually(
    true: Callable[[], bool], seconds: float, needed: str, every_seconds: float = LOOK_EVERY_SECONDS
) -> None:
    """Wait until `true`. Raises AppError(timed_out) with what was needed."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AppError(f"Waited {seconds:.0f} s in vain until {needed}.", code=Code.TIMED_OUT)
        time.sleep(every_seconds)


def _url(data_dir: Path, process: subprocess.Popen[bytes]) -> str:
    def answers() -> bool:
        if process.poll() is not None:
            raise Unavailable(f"`tuneroom up` ended at once; {data_dir / 'logs' / 'up.log'} says why.")
        record = read_record(data_dir)
        return record is not None and record.pid == process.pid and is_healthy(record.url)

    eventually(answers, ANSWER_SECONDS, f"the app answers; its logs are in {data_dir / 'logs'}")
    record = read_record(data_dir)
    assert record is not None  # just read
    return record.url
