"""Keeps a set of processes alive until it is told to stop, then ends them in order. Knows no job and no user.

`webapp.up` says which processes; this file only keeps them: restarts with growing pauses, the record that
`doctor` and a second `up` read, logs of bounded size, and an end that leaves nothing behind.
"""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from webapp.kept import Kept, Part
from webapp.ownership import KeeperRecord, write_record

LOOK_EVERY_SECONDS = 0.2
TRIM_LOGS_EVERY_SECONDS = 60.0
READY_SECONDS = 10.0  # a part that is not ready by then no longer holds the others up
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Say = Callable[[str], None]


class StopWish:
    """How often a person or the system asked us to stop: once is politely, twice is at once."""

    def __init__(self) -> None:
        self.count = 0
        self._asked = threading.Event()

    def ask(self) -> None:
        self.count += 1
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        return self._asked.wait(seconds)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within, SIGTERM, SIGINT and SIGHUP are wishes. Only the main thread may enter."""

        def hear(_number: int, _frame: FrameType | None) -> None:
            self.ask()

        before = {number: signal.signal(number, hear) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_stopped_before(is_ready: Callable[[], bool], stop: StopWish) -> bool:
    """Wait until `is_ready`, but not for ever; True where a stop was asked for instead."""
    until = time.monotonic() + READY_SECONDS
    while not is_ready() and time.monotonic() < until:
        if stop.wait(LOOK_EVERY_SECONDS):
            return True
    return False


class Keeper:
    """The kept processes of one data directory. Parts start in the given order."""

    def __init__(self, data_dir: Path, url: str, parts: Sequence[Part], say: Say) -> None:
        self._data_dir = data_dir
        self._record = KeeperRecord.of_this_process(url)
        self._kept = [Kept(part) for part in parts]
        self._say = say

    def run(self, stop: StopWish) -> None:
        """Keep until `stop` is asked. Whatever happens here, nothing that was started stays."""
        try:
            for kept in self._kept:
                kept.start()
                self._write()
                if kept.part.is_ready is not None and _is_stopped_before(kept.part.is_ready, stop):
                    return
            trim_at = time.monotonic() + TRIM_LOGS_EVERY_SECONDS
            while not stop.wait(LOOK_EVERY_SECONDS):
                self._look()
                if time.monotonic() > trim_at:
                    trim_at = time.monotonic() + TRIM_LOGS_EVERY_SECONDS
                    for kept in self._kept:
                        kept.trim_log()
        finally:
            self._end(stop)

    def _look(self) -> None:
        changes = [sentence for kept in self._kept if (sentence := kept.look())]
        for sentence in changes:
            self._say(sentence)
        if changes:
            self._write()

    def _end(self, stop: StopWish) -> None:
        self._say("Stopping. Running jobs write a checkpoint and go back to the queue; a second Ctrl-C does not wait.")
        by_order = sorted(self._kept, key=lambda kept: kept.part.stop_order)
        for _, group in itertools.groupby(by_order, key=lambda kept: kept.part.stop_order):
            self._end_together(list(group), stop)
        self._write()

    def _end_together(self, group: list[Kept], stop: StopWish) -> None:
        """TERM all, wait for each as long as its grace lasts or until a second wish, then KILL what is left."""
        for kept in group:
            kept.ask_to_end()
        began = time.monotonic()
        for kept in group:
            while not kept.wait(LOOK_EVERY_SECONDS):
                if stop.count > 1 or time.monotonic() - began > kept.part.grace_seconds:
                    self._say(f"{kept.part.name} did not end in time and is killed.")
                    break
            kept.end_group()

    def _write(self) -> None:
        write_record(
            self._data_dir, self._record.model_copy(update={"parts": tuple(kept.record() for kept in self._kept)})
        )
