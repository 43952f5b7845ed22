"""The Train page's form as data: its fields, what they hold for a spec, and the spec they make. Knows no Gradio.

What a person typed is a dict by key: every field of FIELDS, the five of CORE, and the slots of `train_mix`. It is
kept as it was typed until a spec is made of it, so that nothing is lost when something cannot be used.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from models.catalog.methods import METHODS
from models.catalog.methods.base import Family, Method
from models.domain.ids import BaseId, FileId
from models.domain.objectives import OPTIONS_OF, Objective, ObjectiveSpec
from models.domain.presets import HOUSE, PRESETS, AnyPreset, KeptPreset, Preset
from models.domain.training import DataSpec, KeptTogether, MethodChoice, RowsSpec, ScheduleSpec, TrainingSpec
from webapp.views import fields, train_mix, train_sweep
from webapp.views.fields import Field, Group, Kind

Typed = dict[str, Any]

BASE, FILE, VALIDATION, VALIDATION_FILE, NAME = (
    "base",
    "data.training_file",
    "validation",
    "data.validation_file",
    "suffix",
)
SHARE = "data.validation_fraction"
METHOD = "method.name"
OBJECTIVE = "objective.name"
ROWS = "data.rows"
KEPT_TOGETHER, COLUMN, MAX_LENGTH = f"{ROWS}.kept_together", f"{ROWS}.column", "data.max_length"
PRESET = "preset"  # kept with what was typed, but no part of a spec
CORE = (BASE, FILE, VALIDATION, VALIDATION_FILE, NAME)
BY_SHARE, BY_FILE = "share", "file"  # what VALIDATION holds

GROUPS = {
    "epochs": Group.SCHEDULE, "learning_rate": Group.SCHEDULE, "batch_rows": Group.BATCH,
    "batch_tokens": Group.BATCH, "early_stopping": Group.EVALUATION, "keep_best": Group.EVALUATION,
    "micro_batch_rows": Group.BATCH, "evaluate_every": Group.EVALUATION, "save_every": Group.EVALUATION,
    "sample_rows": Group.EVALUATION, "sample_tokens": Group.EVALUATION,
}  # fmt: skip
LONGEST_NAME = 64


def method_field() -> Field:
    return Field(
        key=METHOD,
        path=METHOD,
        group=Group.ADAPTER,
        kind=Kind.CHOICE,
        title="Method",
        help=METHODS[MethodChoice().name].description,
        default=MethodChoice().name,
        choices=tuple((_choice(method), name) for name, method in METHODS.items()),
    )


def _choice(method: Method[Any]) -> str:
    return method.title if method.family is Family.LORA else f"{method.title} ({method.family})"


def option_fields(method: str) -> tuple[Field, ...]:
    """A method's fields in its own order; one that an earlier method has just so is that method's field, and keeps
    what was typed when the method is changed."""
    earlier: list[Field] = []
    for name, one in METHODS.items():
        found = fields.fields_of(
            one.options, at="method.options", key=f"{name}.options", groups={}, otherwise=Group.ADAPTER
        )
        mine = tuple(
            next((same for same in earlier if replace(same, key=field.key) == field), field) for field in found
        )
        if name == method:
            return mine
        earlier += mine
    raise KeyError(method)


def all_fields() -> tuple[Field, ...]:
    """In the order of the page; the share held back stands in step 2, the others are advanced."""
    options = {field.key: field for method in METHODS for field in option_fields(method)}.values()
    whole = fields.fields_of(
        TrainingSpec, at="", key="spec", groups={"start_adapter": Group.ADAPTER}, otherwise=Group.QUANTISATION,
        leave_out=("base", "data", "objective", "method", "schedule", "suffix"),
    )  # fmt: skip
    schedule = fields.fields_of(ScheduleSpec, at="schedule", groups=GROUPS, otherwise=Group.SCHEDULE)
    data = fields.fields_of(
        DataSpec, at="data", groups=GROUPS, otherwise=Group.ROWS,
        leave_out=("training_file", "validation_file", "rows"),
    )  # fmt: skip
    rows = fields.fields_of(RowsSpec, at=ROWS, groups={}, otherwise=Group.ROWS, leave_out=("mixed",))
    aim = fields.fields_of(ObjectiveSpec, at="objective", groups={}, otherwise=Group.OBJECTIVE)
    found = (*aim, method_field(), *options, *whole, *schedule, *data, *rows)
    order = list(Group)
    return tuple(sorted(found, key=lambda field: order.index(field.group)))


FIELDS = all_fields()
BY_KEY = {field.key: field for field in FIELDS}
OPTIONS = {method: frozenset(field.key for field in option_fields(method)) for method in METHODS}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`spec` is None exactly where there are `problems`: a sentence by the key of its field."""

    spec: TrainingSpec | None
    problems: dict[str, str]


# -- from a spec to the form ------------------------------------------------------------------------------------


def typed_of(spec: TrainingSpec) -> Typed:
    """What the form holds for these settings; other methods' fields hold their defaults."""
    values = by_path(spec.model_dump(mode="json"))
    typed: Typed = {
        BASE: spec.base or None,
        FILE: spec.data.training_file or None,
        VALIDATION: BY_FILE if spec.data.validation_file else BY_SHARE,
        VALIDATION_FILE: spec.data.validation_file,
        NAME: spec.suffix or "",
        **train_mix.typed_of(spec.data.rows.mixed),
        **train_sweep.BLANK,
    }
    for field in FIELDS:
        is_other_method = is_option(field) and not is_option_of(field, spec.method.name)
        value = field.default if is_other_method else values.get(field.path, field.default)
        typed[field.key] = fields.shown(field, value)
    return typed


def spec_of(preset: AnyPreset) -> TrainingSpec:
    """The preset as a training of nothing yet."""
    if isinstance(preset, KeptPreset):
        return preset.spec
    return TrainingSpec(
        base=BaseId(""),
        data=DataSpec(training_file=FileId(""), max_length=preset.max_length),
        method=preset.method,
        quantisation=preset.quantisation,
        schedule=preset.schedule,
    )


def fill(typed: Typed, preset: AnyPreset) -> Typed:
    """The form with all settings of the preset; base, rows, validation and name stay."""
    mine = typed_of(spec_of(preset))
    return typed | {field.key: mine[field.key] for field in FIELDS if not is_about_rows(field)}


def preset_of(typed: Typed) -> Preset:
    """The preset whose settings these are, or the house default, which they then differ from."""
    return next((preset for preset in PRESETS.values() if not changed(typed, preset)), HOUSE)


def changed(typed: Typed, preset: AnyPreset) -> frozenset[str]:
    """The keys of the fields that differ from the preset. Fields of a method that is not chosen do not count."""
    mine = typed_of(spec_of(preset))
    return frozenset(
        field.key
        for field in FIELDS
        if is_in_use(field, typed)
        and not fields.is_same(fields.told(field, typed.get(field.key)), fields.told(field, mine[field.key]))
    )


def defaults_of(preset: AnyPreset) -> dict[str, Any]:
    """The preset's value of each field, by key."""
    mine = typed_of(spec_of(preset))
    return {field.key: fields.told(field, mine[field.key]) for field in FIELDS}


def is_about_rows(field: Field) -> bool:
    """Which rows are taken, and what is learnt from them, is no preset's business."""
    return field.key == SHARE or field.path.startswith((f"{ROWS}.", "objective."))


def is_option(field: Field) -> bool:
    """An option of some method; its key begins with the name of the first method that has it."""
    return field.path.startswith("method.options.")


def is_option_of(field: Field, method: object) -> bool:
    return field.key in OPTIONS.get(str(method), ())


def is_objective_option(field: Field) -> bool:
    """An option of some objective, or of several."""
    return field.path.startswith("objective.") and field.key != OBJECTIVE


def objective_of(typed: Typed) -> Objective:
    """The chosen one; what is no objective is refused elsewhere, and stands for the usual one here."""
    chosen = typed.get(OBJECTIVE)
    return Objective(chosen) if chosen in set(Objective) else Objective.SUPERVISED


def is_in_use(field: Field, typed: Typed) -> bool:
    """The options of a method or an objective count only while it is chosen, the share only while no other file
    validates, the column only while rows stay together by one."""
    if is_option(field):
        return is_option_of(field, typed.get(METHOD))
    if is_objective_option(field):
        return field.path.rpartition(".")[2] in OPTIONS_OF[objective_of(typed)]
    if field.key == COLUMN:
        return typed.get(KEPT_TOGETHER) == KeptTogether.COLUMN
    return field.key != SHARE or typed.get(VALIDATION) != BY_FILE


def suggested_name(typed: Typed, file_name: str | None) -> str:
    """`house-style-r16`: the file and the rank, or the file and the method where there is none."""
    stem = re.sub(r"\.jsonl?$", "", (file_name or "").lower())
    stem = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "run"
    method = str(typed.get(METHOD) or HOUSE.method.name)
    rank = next((str(typed[key]) for key in OPTIONS.get(method, ()) if key.endswith(".rank") and typed.get(key)), "")
    ending = f"r{rank}" if rank.isdigit() and len(rank) < 5 else re.sub(r"[^A-Za-z0-9]+", "-", method)
    return f"{stem[: LONGEST_NAME - len(ending) - 1].rstrip('-')}-{ending}"


# -- from the form to a spec ------------------------------------------------------------------------------------


def check(typed: Typed) -> Checked:
    """The spec that the form makes, or what stands in its way. Base and files may be missing: see `missing`."""
    problems: dict[str, str] = {}
    method = str(typed.get(METHOD) or "")
    if method not in METHODS:
        problems[METHOD] = f'"{fields.cut(method)}" is not a method. Choose one of {", ".join(METHODS)}.'
        return Checked(spec=None, problems=problems)
    options = _nested(typed, "method.options")
    problems |= _refused(METHODS[method].options, options, "method.options", typed)
    told = {
        "base": typed.get(BASE) or "",
        "data": _nested(typed, "data") | _files(typed) | {"rows": _rows(typed)},
        "objective": _nested(typed, "objective"),
        "method": {"name": method, "options": options},
        "schedule": _nested(typed, "schedule"),
        "suffix": str(typed.get(NAME) or "").strip() or None,
        **_nested(typed, ""),
    }
    problems |= _refused(TrainingSpec, told, "", typed)
    if problems:
        return Checked(spec=None, problems=problems)
    checked = METHODS[method].options.model_validate(options)
    spec = TrainingSpec.model_validate(told)
    choice = MethodChoice(name=method, options=checked.model_dump(mode="json"))
    return Checked(spec=spec.model_copy(update={"method": choice}), problems={})


def key_of(path: str, typed: Typed) -> str | None:
    """The field that a fact `param` means: the field itself, one inside it, or None for what has no field."""
    keys = [*CORE, *train_mix.KEYS, *(field.key for field in FIELDS if is_in_use(field, typed))]
    paths = {key: BY_KEY[key].path if key in BY_KEY else key for key in keys}
    aliases = {"training_file": FILE, "validation_file": VALIDATION_FILE, "model": BASE}
    path = aliases.get(path, path)
    return next((key for key, own in paths.items() if path == own or path.startswith(f"{own}.")), None)


def missing(typed: Typed) -> dict[str, str]:
    """What a run needs beside its settings, and is not chosen yet."""
    problems = {}
    if not typed.get(BASE):
        problems[BASE] = "No base model is chosen; a run starts from one. Choose it here."
    if not typed.get(FILE):
        problems[FILE] = "No dataset is chosen; a run needs rows to learn from. Choose it here."
    if typed.get(VALIDATION) == BY_FILE and not typed.get(VALIDATION_FILE):
        problems[VALIDATION_FILE] = "No file to validate with is chosen. Choose one, or hold back a share of the rows."
    return problems


def _rows(typed: Typed) -> dict[str, Any]:
    return _nested(typed, ROWS) | {"mixed": train_mix.told(typed)}


def _files(typed: Typed) -> dict[str, Any]:
    told: dict[str, Any] = {"training_file": typed.get(FILE) or ""}
    if typed.get(VALIDATION) == BY_FILE:
        told["validation_file"] = typed.get(VALIDATION_FILE) or None
    return told


def _nested(typed: Typed, at: str) -> dict[str, Any]:
    """The values of the fields directly below `at`, by their last names."""
    return {
        field.path.rpartition(".")[2]: fields.told(field, typed.get(field.key))
        for field in FIELDS
        if field.path.rpartition(".")[0] == at and field.key != METHOD and is_in_use(field, typed)
    }


def _refused(model: type[BaseModel], told: Mapping[str, Any], at: str, typed: Typed) -> dict[str, str]:
    """A sentence for each field that the model refuses."""
    try:
        model.model_validate(told)
    except ValidationError as error:
        found: dict[str, str] = {}
        for problem in error.errors():
            key, sentence = _placed(problem, at, typed)
            found.setdefault(key, sentence)
        return found
    return {}


def _placed(problem: Mapping[str, Any], at: str, typed: Typed) -> tuple[str, str]:
    """The key of the field a problem belongs to, and the sentence."""
    loc: Sequence[Any] = problem["loc"]
    path = ".".join([part for part in (at, *(str(one) for one in loc)) if part])
    if (key := key_of(path, typed)) in BY_KEY:
        assert key is not None
        return key, fields.refusal(BY_KEY[key], problem)
    if key in train_mix.WEIGHTS:
        return str(key), fields.refusal(train_mix.WEIGHT, problem)
    if key == NAME:
        return NAME, bad_name(str(problem.get("input")))
    if key is not None:
        return key, "This cannot be used. Choose another."
    # A rule across fields: it stands beside the first one that its sentence names.
    sentence = str(problem["msg"]).removeprefix("Value error, ").rstrip(".") + "."
    inside = [field for field in FIELDS if field.path.startswith(path) and is_in_use(field, typed)]
    named = [(sentence.find(name), field) for field in inside if (name := field.path.rpartition(".")[2]) in sentence]
    first = min(named, key=lambda one: one[0])[1] if named else (inside or list(FIELDS))[0]
    return first.key, sentence


def bad_name(found: str) -> str:
    what = f"{len(found)} characters were given" if len(found) > LONGEST_NAME else f'"{fields.cut(found)}" was given'
    return (
        f"{what}; a name has up to {LONGEST_NAME} letters, digits, dots, dashes and underscores, and begins with a "
        "letter or digit. Change it."
    )


def by_path(values: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Nested values by path: `schedule.epochs`. Mappings that are a field's own value stay whole, too."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{at}.{name}" if at else name
        found[path] = value
        if isinstance(value, Mapping):
            found |= by_path(value, path)
    return found
