"""Sweeps as data: which runs a grid or a list makes, what each changes, and how far chance alone moves a loss."""

import pytest

from models.domain.errors import Invalid
from models.domain.sweeps import Knob, SweepMode, changed, name_of, runs_of, without_seeds
from models.domain.training import TrainingSpec

SPEC = TrainingSpec.model_validate({"base": "base-1", "data": {"training_file": "file-1"}, "suffix": "tone"})
RANK, RATE = "method.options.rank", "schedule.learning_rate"


def knob(path: str, *values) -> Knob:
    return Knob(path=path, values=values)


def test_a_grid_takes_every_value_with_every_other_and_a_list_takes_them_together():
    two = [knob(RANK, 8, 16), knob(RATE, 1e-4, None)]
    assert runs_of(two, SweepMode.GRID) == [
        {RANK: 8, RATE: 1e-4}, {RANK: 8, RATE: None}, {RANK: 16, RATE: 1e-4}, {RANK: 16, RATE: None},
    ]  # fmt: skip
    assert runs_of(two, SweepMode.LIST) == [{RANK: 8, RATE: 1e-4}, {RANK: 16, RATE: None}]


@pytest.mark.parametrize(
    ("knobs", "mode", "sentence"),
    [
        ([], "grid", "0 settings are varied"),
        ([knob(RANK, 8)], "grid", "This makes 1 runs"),
        ([knob(RANK, *range(1, 6)), knob("schedule.seed", *range(5))], "grid", "more than 24 runs"),
        ([knob(RANK, 8, 16), knob(RATE, 1e-4)], "list", "2 of method.options.rank, 1 of schedule.learning_rate"),
        ([knob(RANK, 8, 16), knob(RANK, 32)], "grid", "varied twice"),
        ([knob(RANK, 8, 8)], "grid", "8 is given twice"),
        ([knob("suffix", "a", "b")], "grid", "named for their values"),
    ],
)
def test_what_is_no_sweep_says_why(knobs, mode, sentence):
    with pytest.raises(Invalid, match=sentence) as refused:
        runs_of(knobs, SweepMode(mode))
    assert str(refused.value.facts["param"]).startswith("knobs")


def test_a_run_changes_what_it_says_and_nothing_else():
    told = changed(SPEC, {RANK: 8, "data.rows.drop_duplicates": True})
    assert told["method"]["options"] == {"rank": 8} and told["data"]["rows"]["drop_duplicates"] is True
    assert changed(SPEC, {}) == SPEC.model_dump(mode="json")
    for path in ("schedule.speed", "rank", "schedule.seed.deep", "method.nothing"):
        with pytest.raises(Invalid, match="no setting of a training"):
            changed(SPEC, {path: 1})


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ({RANK: 8, "schedule.seed": 3}, "tone-rank8-seed3"),
        ({RATE: 0.00013}, "tone-learning-rate0.00013"),
        ({"method.options.targets": ["q_proj", "v_proj"]}, "tone-targetsq-proj-v-proj"),
        ({"method.options.targets": ["x" * 70]}, "tone-4"),
    ],
)
def test_a_run_is_named_for_its_values(chosen, name):
    found = name_of("tone", chosen, 4)
    assert found.replace("_", "-") == name
    assert TrainingSpec.model_validate(SPEC.model_dump() | {"suffix": found}).suffix == found


def test_runs_that_differ_by_seed_alone_are_one():
    one, two = {RANK: 8, "schedule.seed": 1}, {"schedule.seed": 2, RANK: 8}
    assert without_seeds(one) == without_seeds(two) != without_seeds(one | {RANK: 16})
