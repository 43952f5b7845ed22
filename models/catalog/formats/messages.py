"""OpenAI chat rows: `messages` with tools, tool calls and weights. One file, one format; also reads chat requests.

`developer` is read as system, `function` as tool, and the older `functions` and `function_call` as their successors.
Content may be a text or a list of text parts. Keys we do not know are passed over, as OpenAI does.
"""

from typing import Any

from models.catalog.formats.base import (
    TOOLS,
    Field,
    Format,
    Problem,
    as_list,
    as_object,
    cannot_hold,
    check_answered,
    check_order,
    is_spoken,
    messages_of,
    refused,
    tools_of,
    turns_of,
)
from models.domain.example import Conversation, Example

_TOOL_KEYS = ("tools", "functions")


def sniff(row: Any) -> float:
    """Less surely where the turns are ShareGPT's, or beside a verdict or answers to compare."""
    if not isinstance(row, dict):
        return 0.0
    messages = row.get("messages")
    if isinstance(messages, str):  # as tables hold it
        return 0.9 if messages.lstrip().startswith("[") and '"role"' in messages else 0.0
    if not isinstance(messages, list):
        return 0.0
    if is_spoken(messages):
        return 0.3
    if not messages or not all(isinstance(each, dict) and "role" in each for each in messages):
        return 0.7
    return 1.0 if "kto_tag" not in row and "chosen" not in row else 0.5


def parse(row: Any) -> Example:
    """A conversation with at least one trained assistant turn, its roles in order."""
    fields = as_object(row, "", 'an object with "messages"')
    if fields.get("messages") is None:
        raise refused(Problem.MISSING_FIELD, field="messages", found="missing", needed="a list of messages")
    messages = as_list(fields["messages"], "messages", "a list of messages")
    if not messages:
        raise refused(Problem.EMPTY_FIELD, field="messages", found="empty", needed="a question and an answer")
    turns = turns_of(messages)
    check_answered(turns, "messages")
    check_order(turns, "messages")
    if any(key in fields for key in _TOOL_KEYS):
        return Conversation(turns=turns, tools=tools_of(fields))
    return Conversation(turns=turns)


def render(example: Example) -> dict[str, Any]:
    """The row of a conversation; arguments become JSON text, as OpenAI writes them."""
    if not isinstance(example, Conversation):
        raise cannot_hold("messages", example)
    row: dict[str, Any] = {"messages": messages_of(example.turns)}
    if example.tools:
        row["tools"] = list(example.tools)
    return row


FORMAT = Format(
    name="messages",
    title="Chat messages (OpenAI)",
    example={
        "messages": [
            {"role": "system", "content": "You are the help desk of a library."},
            {"role": "user", "content": "When do you open on Sunday?"},
            {"role": "assistant", "content": "We open at ten."},
        ]
    },
    fields=(
        Field(
            name="messages",
            title="Messages",
            help="A list of messages, each with role and content; in a table, its JSON text.",
            is_required=True,
            is_text=False,
        ),
        TOOLS,
    ),
    reads=frozenset({"messages", *_TOOL_KEYS}),
    sniff=sniff,
    parse=parse,
    render=render,
)
