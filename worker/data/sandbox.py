"""Asks a child process to render, and replaces it when a template hangs or fills its memory. Knows no template.

A request and an answer are a line of JSON each; blank lines between them say that the child goes on with the next
row. What a row may take is measured in the child's own processor time, so that a busy machine condemns no template.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from models.domain.errors import AppError, Code, Invalid, from_json

ROW_SECONDS = 2.0
OPENING_SECONDS = 20.0  # the first request of a base reads its tokenizer, and the first of all starts the child
PATIENCE = 5  # so many times longer by the clock: a child that waits for a processor is not at fault
LOOK_SECONDS = 0.1
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """No answer came. `beats`: how often the child had said that it goes on; with `too_slow` False it died."""

    too_slow: bool
    beats: int


class Sandbox:
    """One child at a time, made at the first request. Threads may share it: they wait for each other.

    `is_in_session`: the child belongs to our session and ends with it; otherwise it only ends with us or `close`.
    `is_polite`: it lets everything else on the machine go first.
    """

    def __init__(
        self, row_seconds: float = ROW_SECONDS, *, is_in_session: bool = False, is_polite: bool = False
    ) -> None:
        self._row_seconds = row_seconds
        self._is_in_session, self._is_polite = is_in_session, is_polite
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._opened: set[str] = set()
        self._is_closed = False

    def ask(self, base_dir: Path, do: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What `sandbox_child` answers to a request of the kind `do`.

        Raises what the child raised, and Invalid with code `template` where it did not come to an end.
        """
        answer = self.tell(base_dir, do, asked)
        if isinstance(answer, dict):
            return answer
        if answer.too_slow:
            raise Invalid(
                f"the base's chat template did not come to an end within {self._row_seconds:g} s. Choose another base.",
                code=Code.TEMPLATE,
                kind="too_slow",
            )
        raise AppError("The process that renders rows ended by itself; the worker's log has the details. Ask again.")

    def tell(self, base_dir: Path, do: str, asked: Mapping[str, Any]) -> dict[str, Any] | Ended:
        """`ask`, for who goes on where no answer comes."""
        line = json.dumps({"do": do, "base": str(base_dir), **asked}).encode() + b"\n"
        with self._lock:
            is_fresh = self._child is None or self._child.poll() is not None
            answer = self._exchange(line, str(base_dir))
            if isinstance(answer, Ended) and not answer.too_slow and not is_fresh:
                answer = self._exchange(line, str(base_dir))  # it may have held too many bases
            if isinstance(answer, Ended):
                return answer
            found = json.loads(answer)
            if "error" in found:
                raise from_json(found["error"])
            self._opened.add(str(base_dir))
        return found

    def start(self) -> None:
        """Before the first request, so that it does not wait."""
        with self._lock:
            if self._child is None:
                self._start()

    def kill(self) -> None:
        """From another thread: end the child in the middle of a row. No request is answered any more."""
        self._is_closed = True
        if (child := self._child) is not None:
            child.kill()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _exchange(self, line: bytes, base: str) -> bytes | Ended:
        child = self._child if self._child is not None and self._child.poll() is None else self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(line)
            child.stdin.flush()
            answer = self._read(child, self._row_seconds if base in self._opened else OPENING_SECONDS)
        except BrokenPipeError:
            answer = Ended(too_slow=False, beats=0)
        if isinstance(answer, Ended):
            self._end()
        return answer

    def _read(self, child: subprocess.Popen[bytes], seconds: float) -> bytes | Ended:
        """The answer's line. The first beat ends the opening, each begins the time of a row."""
        assert child.stdout is not None
        descriptor, process = child.stdout.fileno(), psutil.Process(child.pid)
        used, began, data, beats = _cpu_seconds(process), time.monotonic(), bytearray(), 0
        while not data.endswith(b"\n"):
            if not select.select([descriptor], [], [], LOOK_SECONDS)[0]:
                if _cpu_seconds(process) - used > seconds or time.monotonic() - began > PATIENCE * seconds:
                    return Ended(too_slow=True, beats=beats)
                continue
            piece = os.read(descriptor, 1 << 20)
            if not piece:
                return Ended(too_slow=False, beats=beats)
            if not data:
                told = piece.lstrip(b"\n")
                beats, piece = beats + len(piece) - len(told), told
            data += piece
            used, began, seconds = _cpu_seconds(process), time.monotonic(), self._row_seconds
        return bytes(data)

    def _start(self) -> subprocess.Popen[bytes]:
        self._end()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.data.sandbox_child", *(["--polite"] if self._is_polite else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", start_new_session=not self._is_in_session,
            env={
                "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8",
                "TOKENIZERS_PARALLELISM": "false",
            },
        )  # fmt: skip
        if self._is_closed:
            self._end()
            raise AppError("Rendering was stopped. Ask again.")
        return self._child

    def _end(self) -> None:
        self._opened.clear()
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # it has ended: reading tells
        return 0.0
    return times.user + times.system
