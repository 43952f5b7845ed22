"""Pairs of strings: prompt and completion, as one question and one answer. One file, one format."""

from typing import Any

from models.catalog.formats.base import Format, as_object, plain_turns, required_text
from models.domain.errors import Code, Invalid
from models.domain.example import Conversation, Example, Role, Turn


def sniff(row: Any) -> float:
    if not isinstance(row, dict) or "prompt" not in row or "completion" not in row:
        return 0.0
    return 1.0 if isinstance(row["prompt"], str) and isinstance(row["completion"], str) else 0.4


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "prompt" and "completion"')
    question = Turn(role=Role.USER, content=required_text(fields, "prompt"))
    answer = Turn(role=Role.ASSISTANT, content=required_text(fields, "completion"))
    return Conversation(turns=(question, answer))


def render(example: Example) -> dict[str, Any]:
    system, turns = plain_turns(example, "prompt_completion")
    if system is not None or len(turns) != 2:
        raise Invalid(
            "the format prompt_completion holds one question and one answer; choose the format messages.",
            code=Code.INVALID_FILE,
        )
    return {"prompt": turns[0].content, "completion": turns[1].content}


FORMAT = Format(
    name="prompt_completion",
    title="Prompt and completion",
    extensions=(".jsonl", ".json"),
    example={"prompt": "Which bird stands in the reeds?", "completion": "The heron."},
    sniff=sniff,
    parse=parse,
    render=render,
)
