"""Turns the fields of a frozen options model into fields of a form, by their JSON schema alone. Knows no Gradio.

A field shows a value as what a component holds (`shown`) and takes back what a person left there (`told`); whatever
cannot be read goes on as it was typed, so that the model itself refuses it and `refusal` says why.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

LONGEST_SHOWN = 40
LONGEST_NUMBER = 40  # characters; Python refuses to read numbers of 5,000 digits, and nobody needs them


class Group(StrEnum):
    """Where a field stands among the advanced ones."""

    OBJECTIVE = "Objective"
    ROWS = "Rows"
    ADAPTER = "Adapter"
    QUANTISATION = "Quantisation"
    SCHEDULE = "Schedule"
    BATCH = "Batch"
    EVALUATION = "Evaluation"


class Kind(StrEnum):
    WHOLE = "a whole number"
    NUMBER = "a number"
    SWITCH = "yes or no"
    CHOICE = "one of a list"
    NAMES = "a word, or names with commas between"
    PAIRS = "name = value, one a line"
    TEXT = "a text"


@dataclass(frozen=True, kw_only=True)
class Field:
    """`path` is its place in a TrainingSpec; `key` is unique in the form. `none` are the words for an empty field.

    `least` and `most` bound a number, `is_open` excludes `least` itself. A field with unit % is shown times 100.
    """

    key: str
    path: str
    group: Group
    kind: Kind
    title: str
    help: str | None
    default: Any
    choices: tuple[tuple[str, str], ...] = ()
    least: float | None = None
    most: float | None = None
    is_open: bool = False
    none: str | None = None
    unit: str | None = None

    @property
    def label(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def range(self) -> str:
        """`from 1 to 50`, `above 0, at most 1`, or what kind of thing is needed."""
        least, most = self._bound(self.least), self._bound(self.most)
        match (least, most):
            case (None, None):
                return str(self.kind)
            case (None, most):
                return f"at most {most}"
            case (least, None):
                return f"above {least}" if self.is_open else f"{least} or more"
            case _:
                return f"above {least}, at most {most}" if self.is_open else f"from {least} to {most}"

    def _bound(self, bound: float | None) -> str | None:
        return None if bound is None else f"{_short(bound * self.scale)}{self.unit or ''}"

    @property
    def scale(self) -> int:
        return 100 if self.unit == "%" else 1


def fields_of(
    model: type[BaseModel],
    *,
    at: str,
    groups: Mapping[str, Group],
    otherwise: Group,
    key: str = "",
    leave_out: Sequence[str] = (),
) -> tuple[Field, ...]:
    """The fields of `model` in its own order. `at` is its place in a TrainingSpec; `key` names it in the form."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return tuple(
        _field(name, spec, definitions, at=at, key=key or at, group=groups.get(name, otherwise))
        for name, spec in schema["properties"].items()
        if name not in leave_out
    )


def _field(
    name: str, spec: Mapping[str, Any], definitions: Mapping[str, Any], *, at: str, key: str, group: Group
) -> Field:
    parts = [_resolved(part, definitions) for part in spec.get("anyOf", [spec])]
    value = next((part for part in parts if part.get("type") != "null"), {})
    kind = _kind(parts, value)
    words = spec.get("words", {})
    is_nullable = any(part.get("type") == "null" for part in parts)
    open_least = value.get("exclusiveMinimum")
    return Field(
        key=f"{key}.{name}",
        path=f"{at}.{name}" if at else name,
        group=group,
        kind=kind,
        title=spec.get("title", name.replace("_", " ").capitalize()),
        help=spec.get("description"),
        default=spec.get("default", {} if kind is Kind.PAIRS else None),
        choices=tuple((words.get(one, str(one).replace("_", " ")), one) for one in value.get("enum", ())),
        least=open_least if open_least is not None else value.get("minimum"),
        most=value.get("maximum", value.get("exclusiveMaximum")),
        is_open=open_least is not None,
        none=spec.get("none", "left open") if is_nullable else None,
        unit=spec.get("unit"),
    )


def _resolved(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**definitions[part["$ref"].rpartition("/")[2]], **part} if "$ref" in part else part


def _kind(parts: Sequence[Mapping[str, Any]], value: Mapping[str, Any]) -> Kind:
    types = {part.get("type") for part in parts}
    if "enum" in value:
        return Kind.CHOICE
    if "array" in types:
        return Kind.NAMES
    if "object" in types:
        return Kind.PAIRS
    if "number" in types:
        return Kind.NUMBER
    if "integer" in types:
        return Kind.WHOLE
    return Kind.SWITCH if "boolean" in types else Kind.TEXT


# -- a value and what a component holds -------------------------------------------------------------------------


def shown(field: Field, value: Any) -> Any:
    """What the component of `field` holds for a value of the spec."""
    match field.kind:
        case Kind.SWITCH:
            return bool(value)
        case Kind.CHOICE:
            return value
        case Kind.WHOLE | Kind.NUMBER:
            return "" if value is None else _exact(field, value) if _is_number(value) else str(value)
        case Kind.NAMES:
            return ", ".join(value) if isinstance(value, (list, tuple)) else str(value or "")
        case Kind.PAIRS:
            return "\n".join(f"{name} = {json.dumps(one)}" for name, one in (value or {}).items())
        case Kind.TEXT:
            return "" if value is None else str(value)


def told(field: Field, typed: Any) -> Any:
    """The value a person means; what cannot be read stays as it was typed."""
    match field.kind:
        case Kind.SWITCH | Kind.CHOICE:
            return typed
        case Kind.WHOLE | Kind.NUMBER:
            return _number(field, str(typed if typed is not None else "").strip())
        case Kind.NAMES:
            names = [name.strip() for name in str(typed or "").split(",") if name.strip()]
            return names[0] if len(names) == 1 and isinstance(field.default, str) else names
        case Kind.PAIRS:
            return _pairs(str(typed or ""))
        case Kind.TEXT:
            text = str(typed or "").strip()
            return None if not text and field.none is not None else text


def is_same(one: Any, other: Any) -> bool:
    """Equal for a person: 32 and 32.0, a list and a tuple; but True is not 1."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return (
        list(one) == list(other)
        if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple))
        else one == other
    )


def in_words(field: Field, value: Any) -> str:
    """A value as a short text for people: the default beside a field."""
    if value is None or value == "":
        return field.none or "empty"
    if isinstance(value, (list, tuple)) and not value:
        return "none"
    match field.kind:
        case Kind.SWITCH:
            return "on" if value else "off"
        case Kind.CHOICE:
            return next((words for words, one in field.choices if one == value), str(value))
        case Kind.PAIRS:
            return "none" if not value else cut(shown(field, value).replace("\n", ", "))
        case _:
            return cut(str(shown(field, value))) + (field.unit or "")


def _number(field: Field, text: str) -> Any:
    if not text:
        return None if field.none is not None else ""
    text = text.removesuffix("%").strip() if field.unit == "%" else text
    try:
        number = float(text) if len(text) <= LONGEST_NUMBER else math.nan
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    if field.unit == "%":
        return float(Decimal(text) / 100)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _pairs(text: str) -> Any:
    pairs: dict[str, Any] = {}
    for line in text.splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not equals or not name:
            return text  # not pairs: refused as typed
        try:
            pairs[name] = json.loads(value)
        except (ValueError, RecursionError):
            pairs[name] = value
    return pairs


# -- refusals ---------------------------------------------------------------------------------------------------


def refusal(field: Field, problem: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a sentence beside the field: what was found, what is needed, what to do."""
    found = problem.get("input")
    match problem["type"]:
        case "value_error":  # our own validators speak in sentences already
            return str(problem["msg"]).removeprefix("Value error, ").rstrip(".") + "."
        case "missing":
            found = None
        case "finite_number":
            found = "not finite"
    if found is None or found == "":
        return f"Nothing was given; {field.title} needs {_needed(field)}. Type one, or reset it."
    if field.kind in (Kind.WHOLE, Kind.NUMBER) and _is_number(found):
        number = float(str(found))
        given = f"{_short(number * field.scale)}{field.unit or ''}"
        whole = ", a whole number" if field.kind is Kind.WHOLE and not number.is_integer() else ""
        return f"{given} was given; {field.title} goes {field.range}{whole}. Change it, or reset it."
    return f'"{cut(str(found))}" was given; {field.title} needs {_needed(field)}. Change it, or reset it.'


def _needed(field: Field) -> str:
    if field.choices:
        return "one of " + ", ".join(words for words, _ in field.choices)
    if field.least is None and field.most is None:
        return str(field.kind)
    return f"{field.kind} {field.range}"


def cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _exact(field: Field, value: float) -> str:
    """Short where that is read back as the same number, else every digit: a rate from a program is kept bit by bit."""
    short = _short(value * field.scale)
    return short if _number(field, short) == value else str(Decimal(repr(value)) * int(field.scale))


def _short(number: float) -> str:
    return f"{number:.10g}"
