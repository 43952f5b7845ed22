"""Turns written back as OpenAI messages. Knows no rows."""

import json
from collections.abc import Sequence
from typing import Any

from models.domain.example import ToolCall, Turn


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """One message a turn; arguments become JSON text, as OpenAI writes them."""
    return [_message_of(turn) for turn in turns]


def details_of(turn: Turn) -> dict[str, Any]:
    """What a turn has beside its role, its text and its calls."""
    details: dict[str, Any] = {}
    if turn.name is not None:
        details["name"] = turn.name
    if turn.reasoning is not None:
        details["reasoning_content"] = turn.reasoning
    if turn.tool_call_id is not None:
        details["tool_call_id"] = turn.tool_call_id
    if turn.weight == 0:
        details["weight"] = 0
    return details


def _message_of(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": str(turn.role), "content": turn.content, **details_of(turn)}
    if turn.tool_calls:
        message["tool_calls"] = [_call_row(call) for call in turn.tool_calls]
    return message


def _call_row(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    row: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return row if call.id is None else {"id": call.id, **row}
