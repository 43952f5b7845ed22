"""Sweeps as data: which settings are varied, over which values, and the runs this makes. Checks no setting itself.

A setting is named by its path in a TrainingSpec, as `schedule.learning_rate`; the spec says whether a value is one.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from models.domain.errors import Invalid
from models.domain.training import Spec, TrainingSpec

MOST_RUNS = 24
MOST_KNOBS = 3
LONGEST_NAME = 64
SEEDS = ("schedule.seed", "data.rows.split_seed", "data.rows.shuffle_seed")
NOT_VARIED = ("suffix",)  # the runs are named for their values


class SweepMode(StrEnum):
    """GRID: every value with every other. LIST: the first values together, then the second ones, and so on."""

    GRID = "grid"
    LIST = "list"


class Knob(Spec):
    """One setting and the values it takes."""

    path: str = Field(min_length=1, max_length=120, pattern=r"^[a-z_]+(\.[a-z_]+)*$")
    values: tuple[Any, ...] = Field(min_length=1, max_length=MOST_RUNS)


Chosen = dict[str, Any]  # a value by the path of its setting


def runs_of(knobs: Sequence[Knob], mode: SweepMode) -> list[Chosen]:
    """What each run changes, the last setting fastest. Raises Invalid naming the knob in `param`."""
    if not 1 <= len(knobs) <= MOST_KNOBS:
        raise Invalid(f"{len(knobs)} settings are varied; a sweep takes 1 to {MOST_KNOBS}. Change that.", param="knobs")
    for place, knob in enumerate(knobs):
        if knob.path in [other.path for other in knobs[:place]]:
            raise Invalid(f"{knob.path} is varied twice. Say all of its values in one place.", param=f"knobs.{place}")
        if knob.path in NOT_VARIED:
            raise Invalid("Runs of a sweep are named for their values. Leave suffix out.", param=f"knobs.{place}")
        told = [json.dumps(value, sort_keys=True) for value in knob.values]
        if twice := next((value for number, value in enumerate(told) if value in told[:number]), None):
            raise Invalid(f"{twice[:40]} is given twice for {knob.path}. Leave one out.", param=f"knobs.{place}")
    lengths = [len(knob.values) for knob in knobs]
    if mode is SweepMode.LIST and len(set(lengths)) > 1:
        counts = ", ".join(f"{len(knob.values)} of {knob.path}" for knob in knobs)
        raise Invalid(f"A list takes as many values of each setting; there are {counts}. Even them.", param="knobs")
    together = itertools.product if mode is SweepMode.GRID else lambda *values: zip(*values, strict=True)
    found = list(itertools.islice(together(*(knob.values for knob in knobs)), MOST_RUNS + 1))
    if not 2 <= len(found) <= MOST_RUNS:
        count = f"more than {MOST_RUNS}" if len(found) > MOST_RUNS else str(len(found))
        raise Invalid(f"This makes {count} runs; a sweep has 2 to {MOST_RUNS}. Change the values.", param="knobs")
    return [dict(zip((knob.path for knob in knobs), values, strict=True)) for values in found]


def changed(spec: TrainingSpec, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one run as plain data, not checked yet. Raises Invalid for a path that leads nowhere."""
    told = spec.model_dump(mode="json")
    for path, value in chosen.items():
        *above, last = path.split(".")
        at: Any = told
        for name in above:
            at = at.get(name) if isinstance(at, dict) else None
        # A method's options are its own business; everywhere else a setting is there before it is varied.
        if not isinstance(at, dict) or (last not in at and above[-1:] != ["options"]):
            raise Invalid(f"{path} is no setting of a training. Look at the settings of a run.", param=path)
        at[last] = value
    return told


def name_of(sweep: str, chosen: Mapping[str, Any], number: int) -> str:
    """`tone-rank8-seed1`: letters, digits, dots and dashes. What does not fit is the run's number."""
    parts = [f"{path.rpartition('.')[2].replace('_', '-')}{_short(value)}" for path, value in chosen.items()]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join([sweep, *parts])).strip("-._")
    return name if len(name) <= LONGEST_NAME else f"{sweep[: LONGEST_NAME - 4].rstrip('-._')}-{number}"


def without_seeds(chosen: Mapping[str, Any]) -> str:
    """Equal for runs that differ by seed alone."""
    return json.dumps({path: value for path, value in chosen.items() if path not in SEEDS}, sort_keys=True)


def _short(value: Any) -> str:
    match value:
        case None:
            return "-auto"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return "+".join(str(one) for one in value)
        case BaseModel() | dict():
            return ""
        case _:
            return str(value)
