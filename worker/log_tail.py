"""The end of a child's log, fit to be shown: no terminal codes, no control characters, no paths of this machine.

Knows a file and nothing of jobs. What a child prints is not trusted: it may quote a model's file or a row.
"""

import os
import re
import sys
from pathlib import Path

MOST_CHARACTERS = 16_000
_READ_BYTES = 8 * MOST_CHARACTERS  # characters of four bytes, and as much again for what is dropped
_TERMINAL_CODES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]?|[@-Z\\-_])")
# All but tab and new line; and the characters that turn the order of text around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def log_tail(path: Path, hidden: dict[str, str]) -> str:
    """At most MOST_CHARACTERS, from the beginning of a line. `hidden` are texts and what stands in their place."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _READ_BYTES))
            data = file.read(_READ_BYTES)
    except FileNotFoundError:
        return ""
    text = clean(data.decode("utf-8", errors="replace"))
    for found, shown in sorted(hidden.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(found, shown)
    if len(text) <= MOST_CHARACTERS and size <= _READ_BYTES:
        return text
    text = text[-MOST_CHARACTERS:]
    _, newline, whole_lines = text.partition("\n")
    return whole_lines if newline else text


def clean(text: str) -> str:
    """As a terminal would leave it, in plain characters: a line written over by "\\r" shows its last state."""
    text = _TERMINAL_CODES.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def paths_of_this_machine(job: Path, data: Path) -> dict[str, str]:
    """What a traceback or a library's remark would tell of this machine, and what is shown instead."""
    code = Path(__file__).resolve().parents[1]
    return {str(job): "JOB", str(data): "DATA", sys.prefix: "PYTHON", sys.base_prefix: "PYTHON", str(code): "TUNEROOM"}
