"""What a dataset format is, and the kinds of problems a row can have. Knows no files and no format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.domain.example import Example


class Problem(StrEnum):
    """Why a row cannot be used. Stable: reports are grouped by these words."""

    NOT_JSON = "not_json"
    NOT_A_NUMBER = "not_a_number"  # NaN, Infinity, or a float too large to hold
    HUGE_NUMBER = "huge_number"
    TOO_DEEP = "too_deep"
    INVALID_UTF8 = "invalid_utf8"  # also half a surrogate pair written as \ud800
    NUL = "nul"
    CELL_TOO_LARGE = "cell_too_large"
    RAGGED_ROW = "ragged_row"  # of a table: more or fewer cells than the header, or a quote that does not end
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    EMPTY_FIELD = "empty_field"
    UNKNOWN_ROLE = "unknown_role"
    ROLE_ORDER = "role_order"
    NO_ASSISTANT_TURN = "no_assistant_turn"
    TOOL_CALL_UNREADABLE = "tool_call_unreadable"  # its arguments are no JSON object, or it names no tool
    SAME_ANSWERS = "same_answers"  # the chosen and the rejected answer do not differ


@dataclass(frozen=True, kw_only=True)
class Field:
    """Something a format reads, which a person can point to a column. `help` is one line.

    `is_text` False: a list, an object or a yes/no; a column of text then holds it as JSON.
    """

    name: str
    title: str
    help: str
    is_required: bool = False
    is_text: bool = True


@dataclass(frozen=True, kw_only=True)
class Format:
    """One dataset format.

    `fields` are what a person can map columns to; `reads` are the top-level keys that `parse` looks at: of a row with
    none of them a format is not asked. `sniff` says from 0 to 1 how surely a row is of this format, without judging
    its contents, but for the columns that it `judges`. `parse` turns a row into an Example or raises Invalid with the
    facts problem, field, found, needed. `render` is its inverse: parse(render(x)) == x; it raises Invalid for an
    example that the format cannot hold.
    """

    name: str
    title: str
    example: Mapping[str, Any]
    fields: tuple[Field, ...]
    reads: frozenset[str]
    sniff: Callable[[Any], float]
    parse: Callable[[Any], Example]
    render: Callable[[Example], dict[str, Any]]
    judges: frozenset[str] = frozenset()
