"""What a dataset format is, and the words in which it refuses a row. Knows no files and no other format.

A row is one decoded JSON value. To add a format, add a file beside this one that exports FORMAT.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.domain.errors import Code, Invalid
from models.domain.example import Conversation, Example, Role, Text, Turn


class Problem(StrEnum):
    """Why a row cannot be used. Stable: reports are grouped by these words."""

    NOT_JSON = "not_json"
    NOT_A_NUMBER = "not_a_number"  # NaN, Infinity, or a float too large to hold
    HUGE_NUMBER = "huge_number"
    TOO_DEEP = "too_deep"
    INVALID_UTF8 = "invalid_utf8"  # also half a surrogate pair written as \ud800
    NUL = "nul"
    CELL_TOO_LARGE = "cell_too_large"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    EMPTY_FIELD = "empty_field"
    UNKNOWN_ROLE = "unknown_role"
    ROLE_ORDER = "role_order"
    NO_ASSISTANT_TURN = "no_assistant_turn"


@dataclass(frozen=True, kw_only=True)
class Format:
    """One dataset format.

    `sniff` says from 0 to 1 how surely a row is of this format, without judging its contents. `parse` turns a row
    into an Example or raises Invalid with the facts problem, field, found, needed. `render` is its inverse:
    parse(render(x)) == x; it raises Invalid for an example that the format cannot hold.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    example: Mapping[str, Any]
    sniff: Callable[[Any], float]
    parse: Callable[[Any], Example]
    render: Callable[[Example], dict[str, Any]]


def refused(problem: Problem, *, field: str, found: str, needed: str) -> Invalid:
    """The error that `parse` raises: one sentence made of its three facts."""
    where = f'"{field}"' if field else "the row"
    return Invalid(
        f"{where} is {found}; needed: {needed}.",
        code=Code.INVALID_FILE,
        problem=str(problem),
        field=field,
        found=found,
        needed=needed,
    )


def shown(value: Any, limit: int = 60) -> str:
    """A value in few characters, for `found`: its kind in JSON's words, and its beginning if it is short text."""
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {str(value)[:limit]}"
        case str():
            return f'the text "{value[:limit]}{"..." if len(value) > limit else ""}"'
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object with the keys {', '.join(sorted(map(str, value)))[:limit] or 'none'}"
        case _:
            return f"a {type(value).__name__}"


def as_object(row: Any, field: str, needed: str) -> Mapping[str, Any]:
    """The value itself if it is a JSON object, else Invalid."""
    if not isinstance(row, dict):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(row), needed=needed)
    return row


def required_text(row: Mapping[str, Any], key: str, *, field: str | None = None) -> str:
    """A string that must be there and hold more than white space."""
    field = field or key
    if key not in row or row[key] is None:
        raise refused(Problem.MISSING_FIELD, field=field, found="missing", needed="a text")
    value = row[key]
    if not isinstance(value, str):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(value), needed="a text")
    if not value.strip():
        raise refused(Problem.EMPTY_FIELD, field=field, found="empty", needed="a text that is not empty")
    return value


def optional_text(row: Mapping[str, Any], key: str, *, field: str | None = None) -> str | None:
    """A string, or None where it is absent, null or only white space."""
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise refused(Problem.WRONG_TYPE, field=field or key, found=shown(value), needed="a text, or nothing")
    return value if value.strip() else None


def plain_turns(example: Example, format_name: str) -> tuple[str | None, tuple[Turn, ...]]:
    """The system text and the user and assistant turns in strict alternation, for formats that hold no more.

    Raises Invalid for anything else (tools, names, reasoning, weights, an unanswered question, a text).
    """
    if isinstance(example, Text):
        raise _cannot_hold(format_name, "a plain text")
    if not isinstance(example, Conversation):
        raise _cannot_hold(format_name, "answers to compare")
    system, turns = split_system(example)
    roles = [turn.role for turn in turns]
    if not turns or len(turns) % 2 or roles != [Role.USER, Role.ASSISTANT] * (len(turns) // 2):
        raise _cannot_hold(format_name, "turns that are not question, answer, question, answer")
    for turn in turns:
        if turn != Turn(role=turn.role, content=turn.content):
            raise _cannot_hold(format_name, "tool calls, names, reasoning or weights")
    if example.tools:
        raise _cannot_hold(format_name, "tools")
    return system, turns


def split_system(conversation: Conversation) -> tuple[str | None, tuple[Turn, ...]]:
    """The leading system text, if any, and the turns after it."""
    first = conversation.turns[0]
    if first.role is Role.SYSTEM:
        return first.content, conversation.turns[1:]
    return None, conversation.turns


def _cannot_hold(format_name: str, what: str) -> Invalid:
    return Invalid(f"the format {format_name} cannot hold {what}; choose the format messages.", code=Code.INVALID_FILE)
