"""ShareGPT rows: `conversations` of {from, value}, with `system` and `tools` beside them. One file, one format.

Reads every role name of `base.turns.SPOKEN_ROLES` in any case, and turns of {role, content} as well. A `function_call`
right after an answer belongs to that answer, several in a row are calls side by side.
"""

import json
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
    details_of,
    is_spoken,
    optional_text,
    refused,
    spoken_turns,
    tools_of,
)
from models.domain.example import Conversation, Example, Role, ToolCall, Turn

_KEYS = ("conversations", "conversation", "messages")
_NAMES = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt", Role.TOOL: "observation"}


def sniff(row: Any) -> float:
    """`messages` are ShareGPT's only where they use its names. Less surely beside answers to compare."""
    if not isinstance(row, dict):
        return 0.0
    key = next((each for each in _KEYS if each in row), None)
    turns = row.get(key) if key else None
    if key is None or not isinstance(turns, list | str) or (key == "messages" and not _is_spoken(turns)):
        return 0.0
    if "chosen" in row or "kto_tag" in row:
        return 0.5
    if isinstance(turns, str):  # as tables hold it
        return 0.9 if turns.lstrip().startswith("[") else 0.0
    known = ("from", "role")
    is_talk = bool(turns) and all(isinstance(each, dict) and any(name in each for name in known) for each in turns)
    return 1.0 if is_talk else 0.7


def parse(row: Any) -> Example:
    """A conversation with at least one trained answer, its roles in order; the row's `system` comes first."""
    fields = as_object(row, "", 'an object with "conversations"')
    key = next((each for each in _KEYS if fields.get(each) is not None), "conversations")
    if fields.get(key) is None:
        raise refused(Problem.MISSING_FIELD, field=key, found="missing", needed="a list of turns")
    listed = as_list(fields[key], key, "a list of turns")
    if not listed:
        raise refused(Problem.EMPTY_FIELD, field=key, found="empty", needed="a question and an answer")
    turns, places = spoken_turns(listed, key)
    check_answered(turns, key)
    system = optional_text(fields, "system")
    if system is not None and turns[0] != Turn(role=Role.SYSTEM, content=system):
        turns, places = (Turn(role=Role.SYSTEM, content=system), *turns), ("system", *places)
    check_order(turns, places)
    return Conversation(turns=turns, tools=tools_of(fields))


def render(example: Example) -> dict[str, Any]:
    """System texts stay among the turns; `tools` become JSON text."""
    if not isinstance(example, Conversation):
        raise cannot_hold("sharegpt", example)
    row: dict[str, Any] = {"conversations": [said for turn in example.turns for said in _said(turn)]}
    if example.tools:
        row["tools"] = json.dumps(example.tools, ensure_ascii=False)
    return row


def _is_spoken(turns: Any) -> bool:
    return isinstance(turns, list) and is_spoken(turns)


def _said(turn: Turn) -> list[dict[str, Any]]:
    """The turn; what it calls follows as a turn of its own."""
    details = details_of(turn)
    if not turn.tool_calls:
        return [{"from": _NAMES[turn.role], "value": turn.content, **details}]
    called = [_call_row(call) for call in turn.tool_calls]
    calls = {"from": "function_call", "value": json.dumps(called if len(called) > 1 else called[0], ensure_ascii=False)}
    if not turn.content:
        return [{**calls, **details}]
    if not turn.content.strip():
        raise cannot_hold("sharegpt", "white space beside tool calls")
    return [{"from": "gpt", "value": turn.content, **details}, {**calls, **({} if turn.weight else {"weight": 0})}]


def _call_row(call: ToolCall) -> dict[str, Any]:
    row: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    return row if call.id is None else {**row, "id": call.id}


FORMAT = Format(
    name="sharegpt",
    title="ShareGPT (conversations)",
    example={
        "conversations": [
            {"from": "human", "value": "How is the pressure in the hall?"},
            {"from": "function_call", "value": '{"name": "read_barometer", "arguments": {"room": "hall"}}'},
            {"from": "observation", "value": "1013 and falling"},
            {"from": "gpt", "value": "It is 1013 and falling."},
        ],
        "tools": '[{"name": "read_barometer", "parameters": {"type": "object", "properties": {}}}]',
    },
    fields=(
        Field(
            name="conversations",
            title="Conversations",
            help="A list of turns, each with from and value; in a table, its JSON text.",
            is_required=True,
            is_text=False,
        ),
        Field(name="system", title="System", help="The system prompt of this row."),
        TOOLS,
    ),
    reads=frozenset({*_KEYS, "system", "tools"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
