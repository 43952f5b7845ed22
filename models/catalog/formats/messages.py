"""OpenAI chat rows: `messages` with tools, tool calls and weights. One file, one format; also reads chat requests.

`developer` is read as system, `function` as tool, and the older `functions` and `function_call` as their successors.
Content may be a text or a list of text parts. Keys we do not know are passed over, as OpenAI does.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from models.catalog.formats.base import Format, Problem, as_object, optional_text, refused, required_text, shown
from models.domain.errors import Code, Invalid
from models.domain.example import Conversation, Example, Role, ToolCall, Turn

ROLES: dict[str, Role] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


def sniff(row: Any) -> float:
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
        return 0.0
    messages = row["messages"]
    return 1.0 if messages and all(isinstance(each, dict) and "role" in each for each in messages) else 0.7


def parse(row: Any) -> Example:
    """A conversation with at least one trained assistant turn, its roles in order."""
    fields = as_object(row, "", 'an object with "messages"')
    if "messages" not in fields or fields["messages"] is None:
        raise refused(Problem.MISSING_FIELD, field="messages", found="missing", needed="a list of messages")
    messages = fields["messages"]
    if not isinstance(messages, list):
        raise refused(Problem.WRONG_TYPE, field="messages", found=shown(messages), needed="a list of messages")
    if not messages:
        raise refused(Problem.EMPTY_FIELD, field="messages", found="empty", needed="a question and an answer")
    turns = turns_of(messages)
    _check_order(turns)
    return Conversation(turns=turns, tools=tools_of(fields))


def render(example: Example) -> dict[str, Any]:
    """The row of a conversation; arguments become JSON text, as OpenAI writes them."""
    if not isinstance(example, Conversation):
        raise Invalid("the format messages cannot hold a plain text; choose the format text.", code=Code.INVALID_FILE)
    row: dict[str, Any] = {"messages": [_message_of(turn) for turn in example.turns]}
    if example.tools:
        row["tools"] = list(example.tools)
    return row


def turns_of(messages: Sequence[Any]) -> tuple[Turn, ...]:
    """Each message as a Turn, whatever their order: what a chat request needs. Raises Invalid naming the message."""
    return tuple(_turn_of(message, f"messages[{number}]") for number, message in enumerate(messages))


def tools_of(row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The row's tools, or its older `functions` in the shape of tools."""
    if row.get("functions") and not row.get("tools"):
        listed = _list_of(row["functions"], "functions")
        return tuple(
            _tool_of({"type": "function", "function": each}, f"functions[{i}]") for i, each in enumerate(listed)
        )
    listed = _list_of(row.get("tools"), "tools")
    return tuple(_tool_of(each, f"tools[{i}]") for i, each in enumerate(listed))


def _turn_of(message: Any, field: str) -> Turn:
    fields = as_object(message, field, 'an object with "role" and "content"')
    if "role" not in fields or fields["role"] is None:
        raise refused(Problem.MISSING_FIELD, field=f"{field}.role", found="missing", needed=_needed_roles())
    name = fields["role"]
    if not isinstance(name, str):
        raise refused(Problem.WRONG_TYPE, field=f"{field}.role", found=shown(name), needed=_needed_roles())
    if name not in ROLES:
        raise refused(Problem.UNKNOWN_ROLE, field=f"{field}.role", found=shown(name), needed=_needed_roles())
    role = ROLES[name]
    calls = _calls_of(fields, field) if role is Role.ASSISTANT else ()
    return Turn(
        role=role,
        content=_content_of(fields, role, field, has_calls=bool(calls)),
        name=optional_text(fields, "name", field=f"{field}.name"),
        reasoning=_reasoning_of(fields, field) if role is Role.ASSISTANT else None,
        tool_calls=calls,
        tool_call_id=optional_text(fields, "tool_call_id", field=f"{field}.tool_call_id")
        if role is Role.TOOL
        else None,
        weight=_weight_of(fields, field) if role is Role.ASSISTANT else 1,
    )


def _content_of(fields: Mapping[str, Any], role: Role, field: str, *, has_calls: bool) -> str:
    field = f"{field}.content"
    content = fields.get("content")
    if isinstance(content, list):
        content = "".join(_part_of(part, f"{field}[{number}]") for number, part in enumerate(content))
    if content is None:
        if has_calls:
            return ""
        raise refused(Problem.MISSING_FIELD, field=field, found="missing", needed="a text, or tool calls")
    if not isinstance(content, str):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(content), needed="a text, or a list of text parts")
    # A system text or a tool's result may well be empty; a question or an answer may not.
    if not content.strip() and role in (Role.USER, Role.ASSISTANT) and not has_calls:
        raise refused(Problem.EMPTY_FIELD, field=field, found="empty", needed="a text that is not empty")
    return content


def _part_of(part: Any, field: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    found = f"a part of type {shown(part.get('type'))}" if isinstance(part, dict) else shown(part)
    raise refused(Problem.WRONG_TYPE, field=field, found=found, needed='a part {"type": "text", "text": ...}')


def _reasoning_of(fields: Mapping[str, Any], field: str) -> str | None:
    for key in REASONING_KEYS:
        text = optional_text(fields, key, field=f"{field}.{key}")
        if text is not None:
            return text
    return None


def _weight_of(fields: Mapping[str, Any], field: str) -> Literal[0, 1]:
    value = fields.get("weight")
    if value is None:
        return 1
    if isinstance(value, bool) or value not in (0, 1):
        raise refused(Problem.WRONG_TYPE, field=f"{field}.weight", found=shown(value), needed="0 or 1")
    return 0 if value == 0 else 1


def _calls_of(fields: Mapping[str, Any], field: str) -> tuple[ToolCall, ...]:
    older = fields.get("function_call")
    if older is not None and not fields.get("tool_calls"):
        return (_call_of({"function": older}, f"{field}.function_call"),)
    listed = _list_of(fields.get("tool_calls"), f"{field}.tool_calls")
    return tuple(_call_of(call, f"{field}.tool_calls[{number}]") for number, call in enumerate(listed))


def _call_of(call: Any, field: str) -> ToolCall:
    outer = as_object(call, field, 'an object with "function"')
    if outer.get("function") is None:
        raise refused(Problem.MISSING_FIELD, field=f"{field}.function", found="missing", needed="a name and arguments")
    function = as_object(outer["function"], f"{field}.function", 'an object with "name" and "arguments"')
    return ToolCall(
        name=required_text(function, "name", field=f"{field}.function.name"),
        arguments=_arguments_of(function.get("arguments"), f"{field}.function.arguments"),
        id=optional_text(outer, "id", field=f"{field}.id"),
    )


def _arguments_of(value: Any, field: str) -> dict[str, Any]:
    """OpenAI writes arguments as JSON text, other tools as an object; both are read. Nothing at all means none."""
    needed = "a JSON object, or its text"
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            parsed = json.loads(value, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError):
            raise refused(Problem.NOT_JSON, field=field, found=shown(value), needed=needed) from None
        value = parsed
    return dict(as_object(value, field, needed))


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _tool_of(tool: Any, field: str) -> dict[str, Any]:
    fields = as_object(tool, field, 'an object {"type": "function", "function": {...}}')
    function = as_object(fields.get("function"), f"{field}.function", 'an object with "name"')
    required_text(function, "name", field=f"{field}.function.name")
    return dict(fields)


def _list_of(value: Any, field: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(value), needed="a list")
    return value


def _check_order(turns: tuple[Turn, ...]) -> None:
    """System first; then question and answer in turns; a tool's result only after the call for it."""
    if not any(turn.role is Role.ASSISTANT for turn in turns):
        raise _no_answer("without a message of the assistant")
    if not any(turn.role is Role.ASSISTANT and turn.weight for turn in turns):
        raise _no_answer("without an assistant message of weight 1")
    previous = Turn(role=Role.SYSTEM, content="")
    for number, turn in enumerate(turns):
        found = _fault(previous, turn)
        if found:
            raise refused(
                Problem.ROLE_ORDER,
                field=f"messages[{number}].role",
                found=found,
                needed="system first, then user and assistant in turns, tool results right after their calls",
            )
        previous = turn


def _fault(previous: Turn, turn: Turn) -> str | None:
    """What is wrong with `turn` right after `previous`, or None."""
    match turn.role:
        case Role.SYSTEM:
            return None if previous.role is Role.SYSTEM else "a system message after the talk has begun"
        case Role.USER:
            return "a second user message in a row" if previous.role is Role.USER else None
        case Role.ASSISTANT if previous.role is Role.SYSTEM:
            return "an assistant message before any question"
        case Role.ASSISTANT:
            return "a second assistant message in a row" if previous.role is Role.ASSISTANT else None
        case Role.TOOL:
            follows_call = previous.role is Role.TOOL or bool(previous.tool_calls)
            return None if follows_call else "a tool result without a tool call before it"


def _no_answer(found: str) -> Invalid:
    needed = "at least one assistant message to learn from"
    return refused(Problem.NO_ASSISTANT_TURN, field="messages", found=found, needed=needed)


def _needed_roles() -> str:
    return "one of " + ", ".join(ROLES)


def _message_of(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": str(turn.role), "content": turn.content}
    if turn.name is not None:
        message["name"] = turn.name
    if turn.reasoning is not None:
        message["reasoning_content"] = turn.reasoning
    if turn.tool_calls:
        message["tool_calls"] = [_call_row(call) for call in turn.tool_calls]
    if turn.tool_call_id is not None:
        message["tool_call_id"] = turn.tool_call_id
    if turn.weight == 0:
        message["weight"] = 0
    return message


def _call_row(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    row: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return row if call.id is None else {"id": call.id, **row}


FORMAT = Format(
    name="messages",
    title="Chat messages (OpenAI)",
    extensions=(".jsonl", ".json"),
    example={
        "messages": [
            {"role": "system", "content": "You are the help desk of a library."},
            {"role": "user", "content": "When do you open on Sunday?"},
            {"role": "assistant", "content": "We open at ten."},
        ]
    },
    sniff=sniff,
    parse=parse,
    render=render,
)
