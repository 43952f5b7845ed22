"""Tools and the calls of them, in the spellings that data files use. Knows no turns."""

from collections.abc import Mapping
from typing import Any

from models.catalog.formats.base.contract import Problem
from models.catalog.formats.base.refusal import (
    as_list,
    as_object,
    json_value,
    optional_text,
    refused,
    required_text,
    shown,
)
from models.domain.errors import Invalid
from models.domain.example import ToolCall

_CALL = 'a call with "name" and "arguments"'


def tools_of(row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The row's `tools` as a list or its JSON text, else its older `functions` in the shape of tools."""
    listed = as_list(row.get("tools"), "tools")
    if listed or not row.get("functions"):
        return tuple(_tool_of(each, f"tools[{number}]") for number, each in enumerate(listed))
    older = as_list(row["functions"], "functions")
    return tuple(
        _tool_of({"type": "function", "function": each}, f"functions[{number}]") for number, each in enumerate(older)
    )


def calls_of(message: Mapping[str, Any], field: str) -> tuple[ToolCall, ...]:
    """`tool_calls` of an assistant's message, or its older `function_call`."""
    older, listed = message.get("function_call"), message.get("tool_calls")
    if listed is None and older is None:
        return ()
    if older is not None and not listed:
        return (_call_of({"function": older}, f"{field}.function_call"),)
    calls = as_list(listed, f"{field}.tool_calls")
    return tuple(_call_of(call, f"{field}.tool_calls[{number}]") for number, call in enumerate(calls))


def spoken_calls(value: Any, field: str) -> tuple[ToolCall, ...]:
    """The calls that a turn consists of: one or a list of {"name", "arguments"}, as JSON or its text."""
    if isinstance(value, str):
        try:
            value = json_value(value)
        except ValueError:
            raise _unreadable(field, value, f"{_CALL}, as JSON") from None
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise _unreadable(field, value, _CALL)
    return tuple(_call_of(call if _is_wrapped(call) else {"function": call}, field, at=field) for call in calls)


def arguments_of(value: Any, field: str) -> dict[str, Any]:
    """OpenAI writes arguments as JSON text, other tools as an object; both are read. Nothing at all means none."""
    if value is None or value == "":
        return {}
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json_value(value)
        except ValueError:
            raise _unreadable(field, value, "a JSON object, or its text") from None
    if not isinstance(parsed, dict):
        raise _unreadable(field, parsed, "a JSON object, or its text")
    return dict(parsed)


def _is_wrapped(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("function"), dict)


def _call_of(call: Any, field: str, *, at: str | None = None) -> ToolCall:
    """`at` is the field to name where all of the call stands in one."""
    if not isinstance(call, dict):
        raise _unreadable(at or field, call, 'an object with "function"')
    inner = call.get("function")
    if not isinstance(inner, dict):
        raise _unreadable(at or f"{field}.function", inner, _CALL)
    name = inner.get("name")
    if not isinstance(name, str) or not name.strip():
        raise _unreadable(at or f"{field}.function.name", name, "the name of a tool")
    arguments = inner.get("arguments", inner.get("parameters"))
    return ToolCall(
        name=name,
        arguments=arguments_of(arguments, at or f"{field}.function.arguments"),
        id=optional_text(call, "id", field=at or f"{field}.id")
        or optional_text(inner, "id", field=at or f"{field}.id"),
    )


def _tool_of(tool: Any, field: str) -> dict[str, Any]:
    """OpenAI's {"type": "function", "function": {...}}; a bare {"name": ...} is put into one."""
    fields = as_object(tool, field, 'an object {"type": "function", "function": {...}}')
    if "function" not in fields and "name" in fields:
        required_text(fields, "name", field=f"{field}.name")
        return {"type": "function", "function": {key: value for key, value in fields.items() if key != "type"}}
    function = as_object(fields.get("function"), f"{field}.function", 'an object with "name"')
    required_text(function, "name", field=f"{field}.function.name")
    return dict(fields)


def _unreadable(field: str, found: Any, needed: str) -> Invalid:
    found_words = "missing" if found is None else shown(found)
    return refused(Problem.TOOL_CALL_UNREADABLE, field=field, found=found_words, needed=needed)
