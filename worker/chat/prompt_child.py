"""Renders prompts in a process that may be killed: `python -P -m worker.chat.prompt_child`, JSON lines in and out.

A chat template is foreign code; jinja2's sandbox bounds neither its time nor its memory. Here memory is bounded,
and the parent bounds the time. Holds no secret, loads no torch; ends with its stdin.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from models.domain.errors import AppError, Code, Invalid
from worker.data.render import Renderer

MEMORY_BYTES = 512 * 2**20
MOST_RENDERERS = 8


def main() -> None:
    """A line each: {"base", "messages", "arguments"} in, {"ids", "stop_ids"} or {"error"} out, until end of file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    renderers: dict[str, Renderer] = {}
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(json.loads(line), renderers)) + "\n")
        sys.stdout.flush()


def _answer(asked: dict[str, Any], renderers: dict[str, Renderer]) -> dict[str, Any]:
    try:
        renderer = _renderer(asked["base"], renderers)
        ids = renderer.prompt(asked["messages"], (), asked["arguments"])
    except AppError as error:
        return {"error": error.to_json()}
    except MemoryError:
        renderers.clear()
        return {"error": too_much_memory().to_json()}
    return {"ids": ids, "stop_ids": renderer.stop_token_ids}


def _renderer(base: str, renderers: dict[str, Renderer]) -> Renderer:
    if base not in renderers:
        if len(renderers) >= MOST_RENDERERS:
            renderers.clear()
        renderers[base] = Renderer.from_folder(Path(base))
    return renderers[base]


def too_much_memory() -> Invalid:
    return Invalid(
        f"the base's chat template needs more than {MEMORY_BYTES // 2**20} MB of memory for these messages. "
        "Send fewer, or choose another base.",
        code=Code.TEMPLATE,
    )


if __name__ == "__main__":
    main()
