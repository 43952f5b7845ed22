"""The words in which a format refuses a row, and the values it may take from one. Knows no format."""

import json
import math
from collections.abc import Mapping
from typing import Any

from models.catalog.formats.base.contract import Problem
from models.domain.errors import Code, Invalid

DEEPEST = 64
LONGEST_NUMBER_DIGITS = 400


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


def as_list(value: Any, field: str, needed: str = "a list") -> list[Any]:
    """A list, or its JSON text as tables hold it; nothing at all means none."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        try:
            value = json_value(value)
        except ValueError:
            raise refused(
                Problem.WRONG_TYPE, field=field, found=shown(value), needed=f"{needed}, or its JSON text"
            ) from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(value), needed=needed)
    return value


def json_value(text: str) -> Any:
    """JSON that stands inside a text. Raises ValueError for anything else, and for what no row may hold either.

    That is NaN, numbers too large, nesting too deep, NUL and half characters: a text hides them from the row's checks.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded)
        if "\\u" in text:
            whole = json.dumps(value, ensure_ascii=False)
            whole.encode()  # a UnicodeEncodeError is a ValueError
            if "\\u0000" in whole.replace("\\\\", ""):
                raise ValueError("a NUL character")
    except RecursionError:
        raise ValueError("nested too deep") from None
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        raise ValueError("nested too deep")
    return value


def required_text(row: Mapping[str, Any], key: str, *, field: str | None = None) -> str:
    """A string that must be there and hold more than white space."""
    value = row.get(key)
    if isinstance(value, str) and value and not value.isspace():
        return value
    field = field or key
    if value is None:
        raise refused(Problem.MISSING_FIELD, field=field, found="missing", needed="a text")
    if not isinstance(value, str):
        raise refused(Problem.WRONG_TYPE, field=field, found=shown(value), needed="a text")
    raise refused(Problem.EMPTY_FIELD, field=field, found="empty", needed="a text that is not empty")


def optional_text(row: Mapping[str, Any], key: str, *, field: str | None = None) -> str | None:
    """A string, or None where it is absent, null or only white space."""
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise refused(Problem.WRONG_TYPE, field=field or key, found=shown(value), needed="a text, or nothing")
    return value if value and not value.isspace() else None


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _bounded(text: str) -> int:
    if len(text) > LONGEST_NUMBER_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _depth(value: Any) -> int:
    """How many lists and objects stand inside one another. A loop: the value may be deep."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if isinstance(each, dict | list):
            deepest = max(deepest, depth)
            waiting += [(inner, depth + 1) for inner in (each.values() if isinstance(each, dict) else each)]
    return deepest
