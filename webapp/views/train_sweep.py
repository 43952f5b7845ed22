"""What is varied on the Train page, as its form holds it: up to three settings, each with values typed as a list.

Values are separated by commas; where a value is itself a list of names, by semicolons. Knows no Gradio.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.domain.sweeps import MOST_KNOBS, MOST_RUNS, Knob, SweepMode
from webapp.views import fields
from webapp.views.fields import Field, Kind

KNOBS = tuple(f"sweep.{place}.knob" for place in range(MOST_KNOBS))
VALUES = tuple(f"sweep.{place}.values" for place in range(MOST_KNOBS))
MODE = "sweep.mode"
BLANK: dict[str, Any] = dict.fromkeys(KNOBS) | dict.fromkeys(VALUES, "") | {MODE: SweepMode.GRID.value}
NO_KNOBS = (Kind.PAIRS,)  # what needs several lines is not typed as a list
SWITCHED = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
UNSET = ("auto", "none", "default")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """`slots` says in which slot of the form each knob stands."""

    knobs: tuple[Knob, ...]
    slots: tuple[int, ...]
    mode: SweepMode


def can_vary(field: Field) -> bool:
    return field.kind not in NO_KNOBS


def is_asked(typed: Mapping[str, Any]) -> bool:
    """Whether anything is to be varied; what is wrong with it is another question."""
    return any(typed.get(key) for key in (*KNOBS, *VALUES))


def read(typed: Mapping[str, Any], by_key: Mapping[str, Field]) -> tuple[Wish, dict[int, str]]:
    """What the slots say, and a sentence for each slot that says too little."""
    knobs: list[Knob] = []
    slots: list[int] = []
    problems: dict[int, str] = {}
    for place, (knob, values) in enumerate(zip(KNOBS, VALUES, strict=True)):
        key, text = typed.get(knob), str(typed.get(values) or "").strip()
        field = by_key.get(str(key)) if key else None
        if field is None:
            if key or text:
                problems[place] = "Values are typed but no setting is chosen. Choose what they are values of."
            continue
        found = values_of(field, text)
        if not found:
            problems[place] = f"{field.title} has no values yet. Type them as {example(field)}."
            continue
        if len(found) > MOST_RUNS:
            problems[place] = f"{len(found)} values are given; a sweep has at most {MOST_RUNS} runs. Leave some out."
            continue
        knobs.append(Knob(path=field.path, values=tuple(found)))
        slots.append(place)
    mode = SweepMode(typed[MODE]) if typed.get(MODE) in list(SweepMode) else SweepMode.GRID
    return Wish(knobs=tuple(knobs), slots=tuple(slots), mode=mode), problems


def values_of(field: Field, text: str) -> list[Any]:
    """The values a person means; what cannot be read stays as it was typed, and the spec refuses it."""
    parts = [part.strip() for part in text.split(";" if field.kind is Kind.NAMES else ",")]
    return [_value(field, part) for part in parts if part]


def example(field: Field) -> str:
    """A list of values as one types it."""
    match field.kind:
        case Kind.CHOICE:
            return ", ".join(words for words, _ in field.choices[:3])
        case Kind.SWITCH:
            return "on, off"
        case Kind.NAMES:
            return "all-linear; q_proj, v_proj"
        case _:
            shown = fields.shown(field, field.default)
            return f"{shown}, …" if shown else "0.0002, 0.0005, auto" if field.none else "1, 2, 3"


def _value(field: Field, part: str) -> Any:
    if field.none is not None and part.lower() in (*UNSET, field.none.lower()):
        return None
    match field.kind:
        case Kind.CHOICE:
            named = {words.lower(): value for words, value in field.choices}
            return named.get(part.lower(), part)
        case Kind.SWITCH:
            return SWITCHED.get(part.lower(), part)
        case _:
            return fields.told(field, part)
