"""Alpaca rows: instruction, output; optional input, system, history (pairs). One file, one format.

The question is the instruction and, on the next line, the input. `history` lists earlier [question, answer] pairs.
"""

from typing import Any

from models.catalog.formats.base import (
    ASKED_FIELDS,
    Field,
    Format,
    as_object,
    asked_row,
    asked_turns,
    plain_turns,
    required_text,
)
from models.domain.example import Conversation, Example, Role, Turn


def sniff(row: Any) -> float:
    """Less surely beside a verdict on the answer, which is another format's."""
    if not isinstance(row, dict) or "instruction" not in row or "output" not in row:
        return 0.0
    is_text = isinstance(row["instruction"], str) and isinstance(row["output"], str)
    return 1.0 if is_text and "kto_tag" not in row else 0.5


def parse(row: Any) -> Example:
    """A conversation of system?, history, question, answer."""
    fields = as_object(row, "", 'an object with "instruction" and "output"')
    turns = asked_turns(fields)
    turns.append(Turn(role=Role.ASSISTANT, content=required_text(fields, "output")))
    return Conversation(turns=tuple(turns))


def render(example: Example) -> dict[str, Any]:
    """Raises Invalid where alpaca has no word for a part."""
    system, turns = plain_turns(example, "alpaca")
    return {**asked_row(turns[:-1], system), "output": turns[-1].content}


FORMAT = Format(
    name="alpaca",
    title="Alpaca (instruction, input, output)",
    example={
        "instruction": "Rewrite this sentence in plain words.",
        "input": "Kindly revert back to us.",
        "output": "Please answer us.",
    },
    fields=(
        *ASKED_FIELDS[:2],
        Field(name="output", title="Output", help="The answer to learn.", is_required=True),
        *ASKED_FIELDS[2:],
    ),
    reads=frozenset({"instruction", "input", "output", "system", "history"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
