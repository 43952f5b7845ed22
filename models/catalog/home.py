"""Each kind of example in the one spelling that can hold all of it: messages, text, and TRL's for compared answers.

What an export says, and what a version is written in when its own format cannot hold an edit.
"""

import json
from typing import Any, assert_never

from models.catalog.formats.base import messages_of
from models.domain.example import Conversation, Example, Labelled, Preference, Text


def home_row(example: Example) -> dict[str, Any]:
    """The row as JSON values, keys always in the same order."""
    match example:
        case Conversation():
            row: dict[str, Any] = {"messages": messages_of(example.turns)}
        case Text():
            return {"text": example.text}
        case Preference():
            row = {"prompt": messages_of(example.prompt)} if example.prompt else {}
            row |= {"chosen": messages_of(example.chosen), "rejected": messages_of(example.rejected)}
        case Labelled():
            row = {"prompt": messages_of(example.prompt), "completion": messages_of(example.completion)}
            row["label"] = example.label
        case _:
            assert_never(example)
    return row | {"tools": list(example.tools)} if example.tools else row


def line_of(row: Any) -> bytes:
    """One line of JSON, the same bytes for the same row."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
