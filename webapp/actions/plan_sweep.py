"""Which trainings a sweep makes, each checked as far as it can be without the database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from models.catalog.methods import METHODS
from models.domain.errors import Invalid
from models.domain.sweeps import Chosen, Knob, SweepMode, changed, name_of, runs_of
from models.domain.training import TrainingSpec
from webapp import words
from webapp.actions.start_training import checked_method

METHOD = "method.name"


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """`spec` has every option of its method filled in, and a name that says its values."""

    number: int
    values: Chosen
    spec: TrainingSpec


def plan_sweep(spec: TrainingSpec, knobs: Sequence[Knob], mode: SweepMode, name: str) -> list[PlannedRun]:
    """In the order they are queued. Raises Invalid naming the run and, in `param`, the knob at fault."""
    runs = runs_of(knobs, mode)
    planned: list[PlannedRun] = []
    for number, values in enumerate(runs, 1):
        run = _planned(spec, values, name, number, knobs)
        if run.spec.suffix in [earlier.spec.suffix for earlier in planned]:  # values that are short for the same
            run = replace(run, spec=run.spec.model_copy(update={"suffix": f"{name[:58]}-{number}"}))
        planned.append(run)
    return planned


def of_run(error: Invalid, number: int, values: Chosen, knobs: Sequence[Knob]) -> Invalid:
    """The same refusal, of one run: its knob is the one whose setting is at fault."""
    at = str(error.facts.get("param") or "")
    place = next((place for place, knob in enumerate(knobs) if at == knob.path), None)
    sentence = error.message[:1].upper() + error.message[1:]
    return Invalid(
        f"Run {number} ({_in_words(values)[:120]}): {sentence}",
        code=error.code,
        param="knobs" if place is None else f"knobs.{place}.values",
    )


def _planned(spec: TrainingSpec, values: Chosen, name: str, number: int, knobs: Sequence[Knob]) -> PlannedRun:
    try:
        told: dict[str, Any] = {**changed(spec, values), "suffix": name_of(name, values, number)}
        if METHOD in values and values[METHOD] in METHODS:
            known = METHODS[values[METHOD]].options.model_fields
            kept = {option: value for option, value in told["method"]["options"].items() if option in known}
            told["method"] = {"name": values[METHOD], "options": kept}
        made = TrainingSpec.model_validate(told)
        method = checked_method(made.method, at="method")
    except ValidationError as error:
        raise of_run(words.refused_field(error.errors()), number, values, knobs) from None
    except Invalid as error:
        raise of_run(error, number, values, knobs) from None
    return PlannedRun(number=number, values=values, spec=made.model_copy(update={"method": method}))


def _in_words(values: Chosen) -> str:
    """`rank 8, seed 1`."""
    return ", ".join(f"{path.rpartition('.')[2].replace('_', ' ')} {value}" for path, value in values.items())
