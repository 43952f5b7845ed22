"""Turns as data files write them: objects with role and content, or with from and value, under many role names.

`developer` is read as system, `function` as tool. Content may be a text or a list of text parts. Keys we do not know
are passed over, as OpenAI does. Knows no rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.catalog.formats.base.calls import calls_of, spoken_calls
from models.catalog.formats.base.contract import Problem
from models.catalog.formats.base.refusal import as_object, optional_text, refused, shown
from models.domain.example import Role, ToolCall, Turn

MESSAGE_ROLES: dict[str, Role] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
# What ShareGPT files and the tools that read them call the four.
SPOKEN_ROLES: dict[str, Role] = {
    **MESSAGE_ROLES,
    **dict.fromkeys(("human", "input", "prompter"), Role.USER),
    **dict.fromkeys(("gpt", "model", "bot", "ai", "output", "chatgpt", "bard", "bing", "chatbot"), Role.ASSISTANT),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), Role.ASSISTANT),
    **dict.fromkeys(("observation", "tool_response", "tool_result", "function_response", "ipython"), Role.TOOL),
}
CALL_ROLES = frozenset({"function_call", "tool_call", "tool_calls"})
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """Which keys of a turn hold its role and its text, and what the roles are called."""

    role: str
    text: str
    roles: Mapping[str, Role]


MESSAGES = Spelling(role="role", text="content", roles=MESSAGE_ROLES)
ROLE_CONTENT = Spelling(role="role", text="content", roles=SPOKEN_ROLES)
FROM_VALUE = Spelling(role="from", text="value", roles=SPOKEN_ROLES)
_PLAIN_KEYS = {"role", "content"}


def turns_of(messages: Sequence[Any], field: str = "messages") -> tuple[Turn, ...]:
    """Each OpenAI message as a Turn, whatever their order: what a chat request needs. Raises Invalid naming it."""
    return tuple([_message(message, field, number) for number, message in enumerate(messages)])


def spoken_turns(turns: Sequence[Any], field: str) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    """Turns of either spelling, and the field of each. Calls that follow an answer belong to that answer."""
    read: list[Turn] = []
    fields: list[str] = []
    for number, each in enumerate(turns):
        place = f"{field}[{number}]"
        spelling = FROM_VALUE if isinstance(each, dict) and "from" in each else ROLE_CONTENT
        turn, is_call = _turn_of(each, place, spelling)
        if is_call and read and read[-1].role is Role.ASSISTANT and read[-1].weight == turn.weight:
            read[-1] = read[-1].model_copy(update={"tool_calls": read[-1].tool_calls + turn.tool_calls})
            continue
        read.append(turn)
        fields.append(f"{place}.{spelling.role}")
    return tuple(read), tuple(fields)


def is_spoken(turns: Sequence[Any]) -> bool:
    """Whether some turn is keyed by `from`, or its role has a name that OpenAI does not know and ShareGPT does."""
    for each in turns:
        if isinstance(each, dict):
            role = each.get("role")
            if role is None:
                if "from" in each:
                    return True
            elif isinstance(role, str) and role not in MESSAGE_ROLES and role.strip().lower() in SPOKEN_ROLES:
                return True
    return False


def _message(message: Any, field: str, number: int) -> Turn:
    if isinstance(message, dict) and message.keys() == _PLAIN_KEYS:
        role, content = message["role"], message["content"]
        if isinstance(role, str) and role in MESSAGE_ROLES and isinstance(content, str) and content.strip():
            return Turn(role=MESSAGE_ROLES[role], content=content)
    return _turn_of(message, f"{field}[{number}]", MESSAGES)[0]


def _turn_of(message: Any, field: str, spelling: Spelling) -> tuple[Turn, bool]:
    """The turn, and whether it is nothing but calls of tools, under a role name of its own."""
    fields = as_object(message, field, f'an object with "{spelling.role}" and "{spelling.text}"')
    name, role = _role_of(fields, field, spelling)
    is_call = name in CALL_ROLES
    calls: tuple[ToolCall, ...] = ()
    if is_call:
        calls = spoken_calls(fields.get(spelling.text), f"{field}.{spelling.text}")
    elif role is Role.ASSISTANT:
        calls = calls_of(fields, field)
    turn = Turn(
        role=role,
        content="" if is_call else _content_of(fields, role, field, spelling.text, has_calls=bool(calls)),
        name=optional_text(fields, "name", field=f"{field}.name"),
        reasoning=_reasoning_of(fields, field) if role is Role.ASSISTANT else None,
        tool_calls=calls,
        tool_call_id=optional_text(fields, "tool_call_id", field=f"{field}.tool_call_id")
        if role is Role.TOOL
        else None,
        weight=_weight_of(fields, field) if role is Role.ASSISTANT else 1,
    )
    return turn, is_call


def _role_of(fields: Mapping[str, Any], field: str, spelling: Spelling) -> tuple[str, Role]:
    """The name as it is listed, and the role. The names of people's tools vary in case: "Human", "GPT"."""
    field, name = f"{field}.{spelling.role}", fields.get(spelling.role)
    needed = "one of " + ", ".join(spelling.roles)
    if name is None:
        raise refused(Problem.MISSING_FIELD, field=field, found="missing", needed=needed)
    if not isinstance(name, str):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(name), needed=needed)
    known = name if name in spelling.roles or spelling is MESSAGES else name.strip().lower()
    if known not in spelling.roles:
        raise refused(Problem.UNKNOWN_ROLE, field=field, found=shown(name), needed=needed)
    return known, spelling.roles[known]


def _content_of(fields: Mapping[str, Any], role: Role, field: str, key: str, *, has_calls: bool) -> str:
    field, content = f"{field}.{key}", fields.get(key)
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
        if key in fields:
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
