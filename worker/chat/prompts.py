"""Messages to token ids through a child that is replaced when a template hangs. Knows no model and no template."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.domain.errors import AppError, Code, Invalid, from_json

PROMPT_SECONDS = 2.0
OPENING_SECONDS = 20.0  # the first prompt of a base reads its tokenizer, and the first of all starts the child
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    ids: list[int]
    stop_ids: tuple[int, ...]
    """What ends an answer of this base."""


class Prompts:
    """One child at a time, shared by all threads; made at the first prompt."""

    def __init__(self, prompt_seconds: float = PROMPT_SECONDS) -> None:
        self._prompt_seconds = prompt_seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._opened: set[Path] = set()

    def render(self, base_dir: Path, messages: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]) -> Prompt:
        """The prompt as chat sends it. Raises Invalid where the template refuses, hangs, or needs too much memory."""
        asked = {"base": str(base_dir), "messages": list(messages), "arguments": dict(arguments)}
        with self._lock:
            seconds = self._prompt_seconds if base_dir in self._opened else OPENING_SECONDS
            line = self._exchange(json.dumps(asked).encode() + b"\n", seconds)
            answer = json.loads(line)
            if "error" in answer:
                raise from_json(answer["error"])
            self._opened.add(base_dir)
        return Prompt(ids=answer["ids"], stop_ids=tuple(answer["stop_ids"]))

    def close(self) -> None:
        with self._lock:
            self._end()

    def _exchange(self, line: bytes, seconds: float) -> bytes:
        child = self._child if self._child is not None and self._child.poll() is None else self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(line)
            child.stdin.flush()
            answer = _read_line(child.stdout.fileno(), seconds)
        except BrokenPipeError:
            answer = b""
        if answer is None:
            self._end()
            raise Invalid(
                f"the base's chat template did not come to an end within {seconds:.0f} s. Choose another base.",
                code=Code.TEMPLATE,
            )
        if not answer:
            self._end()
            raise AppError("The chat worker could not write this prompt; its log has the details. Ask again.")
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._opened.clear()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.chat.prompt_child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", start_new_session=True,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"},
        )  # fmt: skip
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _read_line(descriptor: int, seconds: float) -> bytes | None:
    """A whole line, b"" at end of file, None when the time is over."""
    data, deadline = b"", time.monotonic() + seconds
    while not data.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return b""
        data += piece
    return data
