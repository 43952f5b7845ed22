"""The keeper with real processes of a few lines: restarts, pauses, the order of the end, nothing left behind."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from models.domain.errors import Conflict
from webapp.keeper import Keeper, StopWish
from webapp.kept import LARGEST_LOG_BYTES, Kept, Part, process
from webapp.ownership import KeeperRecord, ownership, read_record, write_record

SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); " + SLEEP


def part(folder: Path, name: str, code: str, *, stop_order: int = 0, grace_seconds: float = 5) -> Part:
    start = process((sys.executable, "-c", code), dict(os.environ))
    return Part(name=name, start=start, log=folder / f"{name}.log", stop_order=stop_order, grace_seconds=grace_seconds)


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


class Running:
    """A keeper in a thread, with what it said."""

    def __init__(self, folder: Path, *parts: Part) -> None:
        (folder / "run").mkdir()
        self.folder, self.stop, self.said = folder, StopWish(), []
        keeper = Keeper(folder, "http://here", parts, self.said.append)
        self._thread = threading.Thread(target=keeper.run, args=(self.stop,))
        self._thread.start()
        eventually(lambda: read_record(folder) is not None)

    def pids(self) -> dict[str, int | None]:
        record = read_record(self.folder)
        assert record is not None
        return {line.name: line.pid for line in record.parts}

    def end(self) -> None:
        self.stop.ask()
        self._thread.join()


def test_a_process_that_dies_is_started_again_and_the_record_says_so(tmp_path):
    running = Running(tmp_path, part(tmp_path, "sleeper", SLEEP))
    first = running.pids()["sleeper"]
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: running.pids()["sleeper"] not in (first, None))
    record = read_record(tmp_path)
    running.end()
    assert record is not None
    assert (record.parts[0].restarts, record.parts[0].last_exit) == (1, "signal SIGKILL")
    assert "sleeper ended (signal SIGKILL); again in 1 s" in running.said[0]


def test_pauses_between_restarts_double(tmp_path):
    running = Running(tmp_path, part(tmp_path, "brief", "raise SystemExit(3)"))
    eventually(lambda: any("again in 2 s" in sentence for sentence in running.said))
    running.end()
    ends = [sentence for sentence in running.said if "ended (exit code 3)" in sentence]
    assert ["again in 1 s" in ends[0], "again in 2 s" in ends[1]] == [True, True]


def test_an_end_takes_the_parts_in_order_and_leaves_nothing(tmp_path, monkeypatch):
    slow = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit())); "
    note = "import atexit, time; atexit.register(lambda: open('order', 'a').write('{}'))\n"
    monkeypatch.chdir(tmp_path)
    code = [slow + note.format(mark) + f"open('{mark}', 'w')\n" + SLEEP for mark in "wb"]
    running = Running(tmp_path, part(tmp_path, "b", code[1], stop_order=1), part(tmp_path, "w", code[0]))
    eventually(lambda: (tmp_path / "w").exists() and (tmp_path / "b").exists())
    pids = running.pids().values()
    running.end()
    assert (tmp_path / "order").read_text() == "wb"
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


def test_a_process_that_ignores_term_is_killed_with_its_group_after_its_grace(tmp_path):
    family = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); " + STUBBORN
    running = Running(tmp_path, part(tmp_path, "deaf", family, grace_seconds=0.3))
    log = tmp_path / "deaf.log"
    eventually(lambda: "deaf" in log.read_text())
    grandchild = int(log.read_text().split()[0])
    running.end()
    assert "deaf did not end in time and is killed." in running.said
    eventually(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie")


def test_a_second_wish_to_stop_does_not_wait_for_the_grace(tmp_path):
    running = Running(tmp_path, part(tmp_path, "deaf", STUBBORN, grace_seconds=600))
    eventually(lambda: "deaf" in (tmp_path / "deaf.log").read_text())
    running.stop.ask()
    running.end()
    assert "deaf did not end in time and is killed." in running.said


def test_the_holder_is_named_to_a_second_keeper_of_the_same_directory(tmp_path):
    with ownership(tmp_path):
        write_record(tmp_path, KeeperRecord.of_this_process("http://127.0.0.1:4242"))
        with pytest.raises(Conflict) as refused, ownership(tmp_path):
            pass
    assert str(os.getpid()) in refused.value.message
    assert "http://127.0.0.1:4242" in refused.value.message


def test_a_new_keeper_ends_what_a_killed_one_left_running(tmp_path, monkeypatch):
    monkeypatch.setattr("webapp.ownership.LEFTOVER_WAIT_SECONDS", 0.2)
    left = Kept(part(tmp_path, "left", STUBBORN))
    left.start()
    (tmp_path / "run").mkdir()
    dead = KeeperRecord(pid=2**22 - 1, url="http://gone", parts=(left.record(),))
    write_record(tmp_path, dead)
    with ownership(tmp_path):
        assert left.wait(5)


def test_a_stranger_with_a_recorded_number_is_left_alone(tmp_path):
    stranger = Kept(part(tmp_path, "stranger", SLEEP))
    stranger.start()
    (tmp_path / "run").mkdir()
    line = stranger.record()
    earlier = line.model_copy(update={"started_at": KeeperRecord.of_this_process("").started_at.replace(year=2020)})
    write_record(tmp_path, KeeperRecord(pid=2**22 - 1, url="http://gone", parts=(earlier,)))
    with ownership(tmp_path):
        assert stranger.is_running
    stranger.end_group()


def test_a_long_log_is_put_aside_and_begun_anew(tmp_path):
    kept = Kept(part(tmp_path, "chatty", "pass"))
    kept.part.log.write_bytes(b"x" * (LARGEST_LOG_BYTES + 1))
    kept.trim_log()
    assert kept.part.log.stat().st_size == 0
    assert kept.part.log.with_suffix(".log.1").stat().st_size == LARGEST_LOG_BYTES + 1
