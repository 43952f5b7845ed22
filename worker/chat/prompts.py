"""Messages to token ids, written by a child that is replaced when a template hangs. Knows no model and no template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.data.sandbox import ROW_SECONDS, Sandbox


@dataclass(frozen=True, kw_only=True)
class Prompt:
    ids: list[int]
    stop_ids: tuple[int, ...]
    """What ends an answer of this base."""


class Prompts:
    """One child at a time, shared by all threads; made at the first prompt."""

    def __init__(self, prompt_seconds: float = ROW_SECONDS) -> None:
        self._sandbox = Sandbox(prompt_seconds)

    def render(self, base_dir: Path, messages: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]) -> Prompt:
        """The prompt as chat sends it. Raises Invalid where the template refuses, hangs, or needs too much memory."""
        asked = {"messages": list(messages), "arguments": dict(arguments)}
        answer = self._sandbox.ask(base_dir, "prompt", asked)
        return Prompt(ids=answer["ids"], stop_ids=tuple(answer["stop_ids"]))

    def close(self) -> None:
        self._sandbox.close()
