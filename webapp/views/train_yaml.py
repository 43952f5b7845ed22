"""A training's settings as YAML, to send and to keep: written in one canonical form, read as if somebody had typed it.

Knows no database: names are looked up by the page. What text is taken at all is the business of `plain_yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from models.domain.objectives import ObjectiveSpec
from models.domain.training import DataSpec, MethodChoice, MixedFile, RowsSpec, ScheduleSpec, TrainingSpec
from webapp.views import train_mix, train_wish
from webapp.views.fields import cut
from webapp.views.plain_yaml import loaded, refused, shown
from webapp.views.train_wish import Typed

NAMES = "names"
SPECS = {
    "data": DataSpec, "data.rows": RowsSpec, "objective": ObjectiveSpec, "method": MethodChoice,
    "schedule": ScheduleSpec,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the ids were called where the text was written: they find the same things elsewhere."""

    base: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    mixed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pasted:
    """Settings that a form can be filled with. Ids and names may be unknown here: that is for the page to say."""

    spec: TrainingSpec
    names: Names


def write(spec: TrainingSpec, names: Names) -> str:
    """Equal settings give equal text: every field, in the spec's order, no comments."""
    told = spec.model_dump(mode="json")
    told[NAMES] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in vars(names).items() if value
    }
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)


def read(text: str) -> Pasted:
    """Raises Invalid with all problems as sentences in the fact `problems`; what is not said keeps its default."""
    return understood(loaded(text))


def understood(told: Mapping[str, Any]) -> Pasted:
    """The same of values that are read already."""
    told = dict(told)
    problems = _unknown(told)
    names = told.pop(NAMES, None) or {}
    problems += [] if isinstance(names, dict) else [f"names is {shown(names)}; it holds names by field. Remove it."]
    if problems:
        raise refused(problems)
    typed = _typed(told)
    checked = train_wish.check(typed)
    if checked.spec is None:
        raise refused([f"{_path_of(key)}: {sentence}" for key, sentence in checked.problems.items()])
    known = {name: str(value)[:300] for name, value in names.items() if value is not None and name != "mixed"}
    mixed = names.get("mixed")
    others = tuple(str(name)[:300] for name in mixed[: train_mix.MOST]) if isinstance(mixed, list) else ()
    return Pasted(spec=checked.spec, names=Names(**known, mixed=others))


# -- from plain values to the form ------------------------------------------------------------------------------


def _unknown(told: Mapping[str, Any]) -> list[str]:
    """A sentence for each key that no training has."""
    known = [*TrainingSpec.model_fields, NAMES]
    problems = [_no_such(str(name), known) for name in told if name not in known]
    for part, spec in SPECS.items():
        outer, _, inner = part.partition(".")
        inside = told.get(outer)
        if inner:
            inside = inside.get(inner) if isinstance(inside, dict) else None
        if inside is None:
            continue
        if not isinstance(inside, dict):
            problems.append(f"{part} is {shown(inside)}; it holds {', '.join(spec.model_fields)}. Correct it.")
            continue
        problems += [
            _no_such(f"{part}.{name}", [f"{part}.{one}" for one in spec.model_fields])
            for name in inside
            if name not in spec.model_fields
        ]
    return problems + _unknown_options(told.get("method")) + _unknown_names(told.get(NAMES))


def _unknown_options(method: Any) -> list[str]:
    if not isinstance(method, dict) or method.get("options") is None:
        return []
    options = method["options"]
    if not isinstance(options, dict):
        return [f"method.options is {shown(options)}; it holds the method's options by name. Correct it."]
    name = method.get("name", MethodChoice().name)
    if not isinstance(name, str) or name not in train_wish.METHODS:
        return []  # the method itself is refused
    known = list(train_wish.METHODS[name].options.model_fields)
    return [
        _no_such(f"method.options.{one}", [f"method.options.{each}" for each in known])
        for one in options
        if one not in known
    ]


def _unknown_names(names: Any) -> list[str]:
    known = list(Names.__dataclass_fields__)
    if not isinstance(names, dict):
        return []
    return [_no_such(f"names.{one}", [f"names.{each}" for each in known]) for one in names if one not in known]


def _no_such(name: str, known: list[str]) -> str:
    return f"{cut(name)} is not a setting; there are {', '.join(known)}. Remove it."


def _typed(told: Mapping[str, Any]) -> Typed:
    """As if somebody had typed these values: one way to check them, and one set of sentences.

    Raises Invalid for values of a kind that no field of the form could hold.
    """
    typed = train_wish.typed_of(train_wish.spec_of(train_wish.HOUSE))
    given = train_wish.by_path(told)
    method = given.get(train_wish.METHOD, typed[train_wish.METHOD])
    typed[train_wish.METHOD] = method if isinstance(method, str) else shown(method)
    problems = []
    for field in train_wish.FIELDS:
        if field.path not in given or field.key == train_wish.METHOD:
            continue
        if train_wish.is_option(field) and not train_wish.is_option_of(field, method):
            continue
        value = given[field.path]
        if value is None and field.none is None:
            problems.append(f"{field.path}: nothing was given; it needs {field.kind}. Give one, or remove the line.")
        elif not _is_of_kind(field.kind, value):
            problems.append(f"{field.path}: {shown(value)} was given; it needs {field.kind}. Correct it.")
        else:
            typed[field.key] = train_wish.fields.shown(field, _read_number(field.kind, value))
    mixed, faults = _mixed(given.get(train_mix.MIXED))
    typed |= mixed
    problems += faults
    for key, path in ((train_wish.BASE, "base"), (train_wish.FILE, train_wish.FILE), (train_wish.NAME, "suffix"),
                      (train_wish.VALIDATION_FILE, train_wish.VALIDATION_FILE)):  # fmt: skip
        value = given.get(path)
        if value is not None and not isinstance(value, str):
            problems.append(f"{path}: {shown(value)} was given; it needs a text. Put it in quotation marks.")
        elif value is not None:
            typed[key] = value
    if problems:
        raise refused(problems)
    if typed[train_wish.VALIDATION_FILE]:
        typed[train_wish.VALIDATION] = train_wish.BY_FILE
    return typed


def _mixed(told: Any) -> tuple[Typed, list[str]]:
    """The slots for the datasets of a text, and what is wrong with them."""
    typed, problems = train_mix.typed_of(), []
    if told is None:
        return typed, []
    if not isinstance(told, list) or len(told) > train_mix.MOST:
        return typed, [f"{train_mix.MIXED}: {shown(told)} was given; it needs a list of up to {train_mix.MOST}."]
    for place, each in enumerate(told):
        at = f"{train_mix.MIXED}.{place}"
        if not isinstance(each, dict) or not isinstance(each.get("file"), str) or not each["file"]:
            problems.append(f"{at}: {shown(each)} was given; it needs a file's id and a weight. Correct it.")
            continue
        problems += [_no_such(f"{at}.{name}", [f"{at}.{one}" for one in MixedFile.model_fields])
                     for name in each if name not in MixedFile.model_fields]  # fmt: skip
        weight = _read_number(train_mix.WEIGHT.kind, each.get("weight", train_mix.WEIGHT.default))
        if weight is None or not _is_of_kind(train_mix.WEIGHT.kind, weight):
            problems.append(f"{at}.weight: {shown(weight)} was given; it needs a number. Correct it.")
            continue
        typed[train_mix.FILES[place]] = each["file"]
        typed[train_mix.WEIGHTS[place]] = train_wish.fields.shown(train_mix.WEIGHT, weight)
    return typed, problems


def _read_number(kind: train_wish.Kind, value: Any) -> Any:
    """PyYAML reads 2e-4 as a text, because YAML 1.1 wants 2.0e-4."""
    if kind not in (train_wish.Kind.WHOLE, train_wish.Kind.NUMBER) or not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _is_of_kind(kind: train_wish.Kind, value: Any) -> bool:
    """Whether a field of this kind can hold the value at all; its range is checked later."""
    match kind:
        case train_wish.Kind.SWITCH:
            return isinstance(value, bool)
        case train_wish.Kind.WHOLE | train_wish.Kind.NUMBER:
            return value is None or (isinstance(value, (int, float, str)) and not isinstance(value, bool))
        case train_wish.Kind.NAMES:
            return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))
        case train_wish.Kind.PAIRS:
            return isinstance(value, dict) and all(isinstance(one, str) and "=" not in one for one in value)
        case train_wish.Kind.CHOICE:
            return isinstance(value, str)
        case train_wish.Kind.TEXT:
            return value is None or isinstance(value, str)


def _path_of(key: str) -> str:
    return train_wish.BY_KEY[key].path if key in train_wish.BY_KEY else key
