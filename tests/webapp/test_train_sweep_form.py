"""What is varied, and what a clone changes, as the Train page's form holds it. No browser."""

import pytest

from models.domain.presets import HOUSE
from models.domain.sweeps import SweepMode
from models.domain.training import TrainingSpec
from webapp.views import train_clone, train_draft, train_sweep, train_wish
from webapp.views.train_sweep import KNOBS, MODE, VALUES
from webapp.views.train_wish import BY_KEY

SPEC = TrainingSpec.model_validate({"base": "base-1", "data": {"training_file": "file-1"}, "suffix": "tone"})


def typed(**changes):
    return train_wish.typed_of(SPEC) | {name.replace("__", "."): value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("key", "text", "values"),
    [
        ("schedule.seed", "1, 2,3 ,", [1, 2, 3]),
        ("schedule.learning_rate", "0.0002, auto, as recommended", [0.0002, None, None]),
        ("schedule.warmup_ratio", "5, 10%", [0.05, 0.1]),
        ("schedule.scheduler", "cosine, Linear", ["cosine", "linear"]),
        ("spec.quantisation", "full precision, nf4", ["none", "nf4"]),
        ("data.rows.drop_duplicates", "on, off, maybe", [True, False, "maybe"]),
        ("lora.options.targets", "all-linear; q_proj, v_proj", ["all-linear", ["q_proj", "v_proj"]]),
        ("lora.options.rank", "8, many", [8, "many"]),
    ],
)
def test_values_are_read_as_the_field_itself_reads_them(key, text, values):
    assert train_sweep.values_of(BY_KEY[key], text) == values


def test_a_form_that_varies_nothing_asks_for_no_sweep_and_a_half_one_says_what_is_missing():
    assert not train_sweep.is_asked(typed())
    half = typed() | {KNOBS[0]: "lora.options.rank", VALUES[1]: "1, 2"}
    wish, problems = train_sweep.read(half, BY_KEY)
    assert wish.knobs == () and "Rank has no values yet" in problems[0] and "no setting is chosen" in problems[1]
    many = typed() | {KNOBS[0]: "schedule.seed", VALUES[0]: ",".join(map(str, range(25)))}
    assert "25 values" in train_sweep.read(many, BY_KEY)[1][0]


def test_a_filled_form_is_a_wish_of_paths_and_values():
    told = typed() | {KNOBS[0]: "lora.options.rank", VALUES[0]: "8, 16", KNOBS[2]: "schedule.seed", VALUES[2]: "1,2"}
    wish, problems = train_sweep.read(told | {MODE: "list"}, BY_KEY)
    assert problems == {} and wish.mode is SweepMode.LIST and wish.slots == (0, 2)
    assert [(knob.path, knob.values) for knob in wish.knobs] == [
        ("method.options.rank", (8, 16)), ("schedule.seed", (1, 2)),
    ]  # fmt: skip


def test_every_field_has_an_example_that_it_reads():
    for field in train_wish.FIELDS:
        if train_sweep.can_vary(field):
            assert train_sweep.values_of(field, train_sweep.example(field).replace(", …", ""))


def test_a_sweep_that_was_typed_comes_back_after_a_reload():
    kept = {"who": "u/t", "address": "?from=ftjob-1&change=1", "typed": {KNOBS[0]: "schedule.seed", VALUES[0]: "1, 2"}}
    found = train_draft.draft_of(train_draft.json.dumps(kept), "u/t")
    assert found is not None and (found.typed[KNOBS[0]], found.typed[VALUES[0]]) == ("schedule.seed", "1, 2")
    kept["typed"][KNOBS[0]] = "schedule.nothing"
    found = train_draft.draft_of(train_draft.json.dumps(kept), "u/t")
    assert found is not None and found.typed[KNOBS[0]] is None


def test_a_clone_says_what_it_changes_and_what_people_change_most():
    now = typed(schedule__epochs="5") | {"lora.options.rank": "32"}
    assert train_clone.changes(SPEC, typed()) == []
    assert sorted(train_clone.changes(SPEC, now)) == [("Epochs", "3", "5"), ("Rank", "16", "32")]
    html = train_clone.line("ftjob-1", SPEC, now)
    assert 'data-field="field-lora-options-rank"' in html and "/run?id=ftjob-1" in html and "more than one" in html
    assert "Nothing is changed yet" in train_clone.line("ftjob-1", SPEC, typed())
    assert ("Rank", "16", "many") in train_clone.changes(SPEC, typed() | {"lora.options.rank": "many"})


def test_a_preset_leaves_the_sweep_as_it_was():
    told = typed() | {KNOBS[0]: "schedule.seed"}
    assert train_wish.fill(told, HOUSE)[KNOBS[0]] == "schedule.seed"
