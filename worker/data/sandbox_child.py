"""Renders in a process that may be killed: `python -P -m worker.data.sandbox_child`, JSON lines in and out.

A chat template is foreign code; jinja2's sandbox bounds neither its time nor its memory. Here memory is bounded, and
the parent bounds the time. Holds no secret, loads no torch and opens nothing but a base's text files; ends with its
stdin.
"""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.domain.errors import AppError, Code, Invalid
from models.domain.example import EXAMPLE
from models.domain.training import OverLong, TrainOn
from worker.data.base_folder import read_base_folder
from worker.data.counting import count_rows
from worker.data.previewing import preview
from worker.data.render import Renderer

MEMORY_BYTES = 512 * 2**20
MOST_RENDERERS = 4
ORPHAN_SECONDS = 30  # of processor time for one row: nobody is left who would have ended us
POLITE = 5


def main(arguments: list[str]) -> None:
    """A line each: {"do", "base", ...} in, the answer of that kind or {"error"} out, until end of file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if "--polite" in arguments:
        os.nice(POLITE)
    renderers: dict[tuple[str, bool], Renderer] = {}
    for line in sys.stdin:
        _allow_time()
        sys.stdout.write(json.dumps(_answer(json.loads(line), renderers)) + "\n")
        sys.stdout.flush()


def beat() -> None:
    """Say that the next row's time begins."""
    _allow_time()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _allow_time() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + ORPHAN_SECONDS, most))


def _answer(asked: dict[str, Any], renderers: dict[tuple[str, bool], Renderer]) -> dict[str, Any]:
    do = KINDS[asked["do"]]
    try:
        try:
            return do(_renderer(asked["base"], do is _preview, renderers), asked)
        except MemoryError:
            if len(renderers) < 2:
                raise
            renderers.clear()  # other bases may have had it
            return do(_renderer(asked["base"], do is _preview, renderers), asked)
    except AppError as error:
        return {"error": error.to_json()}
    except MemoryError:
        renderers.clear()
        return {"error": too_much_memory().to_json()}


def _renderer(base: str, shows_texts: bool, renderers: dict[tuple[str, bool], Renderer]) -> Renderer:
    if (base, shows_texts) not in renderers:
        if len(renderers) >= MOST_RENDERERS:
            renderers.clear()
        folder = read_base_folder(Path(base))
        beat()
        renderers[base, shows_texts] = Renderer(folder, shows_texts=shows_texts)
    return renderers[base, shows_texts]


def _prompt(renderer: Renderer, asked: dict[str, Any]) -> dict[str, Any]:
    """{"messages", "arguments"}: the token ids that chat sends."""
    ids = renderer.prompt(asked["messages"], (), asked["arguments"])
    return {"ids": ids, "stop_ids": renderer.stop_token_ids}


def _preview(renderer: Renderer, asked: dict[str, Any]) -> dict[str, Any]:
    """{"example", "row", "rows", "max_length", "over_long", "train_on", "arguments"}: a RowPreview."""
    seen = preview(
        renderer,
        EXAMPLE.validate_python(asked["example"]),
        row=asked["row"],
        rows=asked["rows"],
        max_length=asked["max_length"],
        over_long=OverLong(asked["over_long"]),
        train_on=TrainOn(asked["train_on"]),
        template_arguments=asked["arguments"],
    )
    return seen.model_dump(mode="json")


def _count(renderer: Renderer, asked: dict[str, Any]) -> dict[str, Any]:
    """{"rows": examples as texts, "train_on", "arguments", "is_careful"}: a count of each, and the base's notes."""
    rows = count_rows(
        renderer, asked["rows"], TrainOn(asked["train_on"]), asked["arguments"], beat, is_careful=asked["is_careful"]
    )
    return {"rows": rows, "notes": renderer.notes}


KINDS: dict[str, Callable[[Renderer, dict[str, Any]], dict[str, Any]]] = {
    "prompt": _prompt, "preview": _preview, "count": _count,
}  # fmt: skip


def too_much_memory() -> Invalid:
    return Invalid(
        f"the base's chat template needs more than {MEMORY_BYTES // 2**20} MB of memory for these messages. "
        "Send fewer, or choose another base.",
        code=Code.TEMPLATE,
        kind="too_slow",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
