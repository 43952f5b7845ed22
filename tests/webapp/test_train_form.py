"""The Train page's form as data: fields from schemas, what was typed and back, YAML both ways. No browser."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field as Option
from pydantic import ValidationError

from models.catalog.methods import METHODS
from models.domain.errors import Invalid
from models.domain.ids import BaseId, FileId
from models.domain.presets import HOUSE, PRESETS
from models.domain.training import DataSpec, MethodChoice, RowsSpec, ScheduleSpec, Spec, TrainingSpec
from webapp.views import fields, train_draft, train_mix, train_wish, train_yaml
from webapp.views.fields import Group, Kind
from webapp.views.train_wish import BY_FILE, FIELDS

NAMES = train_yaml.Names(base="tiny", training_file="house-style.jsonl")


class StrangeOptions(Spec):
    """A method that nobody has written yet."""

    blocks: int = Option(4, ge=1, le=9, title="Blocks", description="How many.")
    strength: float | None = Option(None, gt=0, le=2, json_schema_extra={"none": "as the paper"})
    init: Literal["zeros", "orthogonal_wide"] = "zeros"
    layers: tuple[str, ...] = ("q_proj",)
    is_bold: bool = False


def spec(**changes) -> TrainingSpec:
    base = {"base": "base-1", "data": DataSpec(training_file=FileId("file-1"))}
    return TrainingSpec.model_validate(base | changes)


def typed(**changes):
    """The house default on some base and file, with fields changed as a person would type them."""
    return train_wish.typed_of(spec()) | {name.replace("__", "."): value for name, value in changes.items()}


# -- fields from schemas ----------------------------------------------------------------------------------------


def test_a_new_methods_options_become_fields_of_every_kind():
    found = fields.fields_of(
        StrangeOptions, at="method.options", key="strange.options", groups={}, otherwise=Group.ADAPTER
    )
    assert [field.kind for field in found] == [Kind.WHOLE, Kind.NUMBER, Kind.CHOICE, Kind.NAMES, Kind.SWITCH]
    blocks, strength, init, *_ = found
    assert (blocks.key, blocks.path, blocks.title, blocks.help) == (
        "strange.options.blocks", "method.options.blocks", "Blocks", "How many.",
    )  # fmt: skip
    assert blocks.range == "from 1 to 9" and strength.range == "above 0, at most 2"
    assert fields.in_words(strength, None) == "as the paper"
    assert init.choices == (("zeros", "zeros"), ("orthogonal wide", "orthogonal_wide"))


def test_a_method_in_the_registry_is_on_the_form_without_a_change_to_it(monkeypatch):
    strange = replace(METHODS["lora"], name="strange", title="Strange", options=StrangeOptions)
    monkeypatch.setitem(METHODS, "strange", strange)
    found = {field.key: field for field in train_wish.all_fields()}
    assert ("Strange", "strange") in found["method.name"].choices
    assert {key for key in found if key.startswith("strange.options.")} == {
        f"strange.options.{name}" for name in StrangeOptions.model_fields
    }


def test_what_was_typed_stays_when_the_method_is_changed_to_one_with_the_same_field():
    checked = train_wish.check(typed() | {"lora.options.rank": "48", "method.name": "dora"})
    assert checked.spec is not None and checked.spec.method.name == "dora"
    assert checked.spec.method.options["rank"] == 48 and "use_rslora" not in checked.spec.method.options
    back = train_wish.typed_of(checked.spec)
    assert back["lora.options.rank"] == "48" and train_wish.check(back).spec == checked.spec


def test_a_new_methods_defaults_come_back_from_the_form_as_they_were():
    found = fields.fields_of(StrangeOptions, at="method.options", groups={}, otherwise=Group.ADAPTER)
    told = {field.path.rpartition(".")[2]: fields.told(field, fields.shown(field, field.default)) for field in found}
    assert StrangeOptions.model_validate(told) == StrangeOptions()


def test_every_option_of_every_method_and_every_field_of_a_schedule_is_on_the_form():
    paths = {field.path for field in FIELDS}
    for name, method in METHODS.items():
        mine = {field.path for field in FIELDS if train_wish.is_option_of(field, name)}
        assert mine == {f"method.options.{option}" for option in method.options.model_fields}
    assert {f"schedule.{name}" for name in ScheduleSpec.model_fields} <= paths
    left = {"data.training_file", "data.validation_file", "data.rows"}
    assert {f"data.{name}" for name in DataSpec.model_fields} - paths == left
    assert {f"data.rows.{name}" for name in RowsSpec.model_fields} - paths == {"data.rows.mixed"}
    assert len({field.key for field in FIELDS}) == len(FIELDS)


def test_every_field_has_a_title_of_its_own_and_a_help_of_at_most_two_sentences_and_a_half():
    for method in METHODS:
        shown = {train_wish.METHOD: method, train_wish.KEPT_TOGETHER: "column"}
        titles = [one.title for one in FIELDS if not train_wish.is_option(one) or train_wish.is_in_use(one, shown)]
        assert len(set(titles)) == len(titles)
    assert all(field.help and len(field.help) < 220 for field in FIELDS)
    assert [field.group for field in FIELDS] == sorted((field.group for field in FIELDS), key=list(Group).index)


# -- typed and back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_comes_back_from_the_form_as_it_was_and_is_recognised(preset):
    filled = train_wish.fill(typed(), preset)
    checked = train_wish.check(filled)
    assert checked.spec is not None and checked.problems == {}
    assert (checked.spec.schedule, checked.spec.quantisation) == (preset.schedule, preset.quantisation)
    assert checked.spec.method.options == METHODS["lora"].options.model_validate(preset.method.options).model_dump(
        mode="json"
    )
    assert train_wish.preset_of(filled) is preset and not train_wish.changed(filled, preset)


@pytest.mark.parametrize("name", METHODS)
def test_every_methods_defaults_come_back_from_the_form(name):
    options = METHODS[name].options().model_dump(mode="json")
    wished = spec(method=MethodChoice(name=name, options=options))
    assert train_wish.check(train_wish.typed_of(wished)).spec == wished


def test_a_changed_field_is_marked_and_its_way_back_is_known():
    filled = typed(schedule__epochs="7", lora__options__alpha="32.0")
    assert train_wish.changed(filled, HOUSE) == {"schedule.epochs"}
    assert train_wish.defaults_of(HOUSE)["schedule.epochs"] == 3


def test_a_share_is_typed_in_percent():
    checked = train_wish.check(typed(data__validation_fraction="7 %", schedule__warmup_ratio="2.5"))
    assert checked.spec is not None
    assert (checked.spec.data.validation_fraction, checked.spec.schedule.warmup_ratio) == (0.07, 0.025)


def test_another_file_to_validate_with_needs_no_share():
    wished = typed(validation=BY_FILE, data__validation_file="file-2", data__validation_fraction="lots")
    checked = train_wish.check(wished)
    assert checked.spec is not None and checked.spec.data.validation_file == "file-2"


def test_layers_and_template_arguments_are_typed_as_text():
    told = {
        "lora__options__targets": "q_proj, v_proj",
        "data__template_arguments": "enable_thinking = false\ntone = dry",
    }
    checked = train_wish.check(typed(**told))
    assert checked.spec is not None
    assert checked.spec.method.options["targets"] == ["q_proj", "v_proj"]
    assert checked.spec.data.template_arguments == {"enable_thinking": False, "tone": "dry"}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("lora.options.rank", "9999", "9999 was given; Rank goes from 1 to 512. Change it, or reset it."),
        ("lora.options.rank", "", "Nothing was given; Rank needs a whole number from 1 to 512. Type one, or reset it."),
        ("schedule.epochs", "three", '"three" was given; Epochs needs a whole number from 1 to 50. Change it,'),
        ("schedule.epochs", "2.5", "2.5 was given; Epochs goes from 1 to 50, a whole number. Change it, or reset it."),
        ("schedule.epochs", "9" * 5000, None),
        ("schedule.learning_rate", "inf", '"inf" was given; Learning rate needs a number above 0, at most 1.'),
        ("data.validation_fraction", "70", "70% was given; Share held back goes from 0% to 50%."),
        ("data.template_arguments", "thinking", "Chat template arguments needs name = value, one a line."),
        ("schedule.micro_batch_rows", "20", "a forward pass cannot hold more rows than the step."),
        ("schedule.scheduler", "jagged", "Course of the rate needs one of cosine, linear, constant."),
        ("suffix", "my run", '"my run" was given; a name has up to 64 letters, digits, dots, dashes and underscores'),
        ("suffix", "x" * 65, "65 characters were given; a name has up to 64 letters"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_beside_its_field(key, value, sentence):
    checked = train_wish.check(typed() | {key: value})
    assert checked.spec is None and set(checked.problems) == {key}
    assert (sentence or "was given; Epochs needs") in checked.problems[key] and len(checked.problems[key]) < 200


def test_all_problems_are_said_at_once():
    wrong = {"lora.options.rank": "0", "schedule.epochs": "0", "schedule.seed": "-1"}
    assert set(train_wish.check(typed() | wrong).problems) == set(wrong)


def test_a_missing_base_or_file_stands_in_the_way_of_a_run_only():
    empty = typed(validation=BY_FILE) | {"base": None, "data.training_file": ""}
    assert set(train_wish.missing(empty)) == {"base", "data.training_file", "data.validation_file"}
    assert train_wish.check(empty).problems == {} and train_wish.missing(typed()) == {}


@pytest.mark.parametrize(
    ("param", "key"),
    [
        ("training_file", "data.training_file"),
        ("validation_file", "data.validation_file"),
        ("model", "base"),
        ("method.options.targets", "lora.options.targets"),
        ("schedule.epochs", "schedule.epochs"),
        ("suffix", "suffix"),
        ("weather", None),
    ],
)
def test_the_field_that_an_error_names_is_found(param, key):
    assert train_wish.key_of(param, typed(validation=BY_FILE)) == key


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("House Style.jsonl", "house-style-r16"),
        (None, "run-r16"),
        ("Ünïcode ☃.json", "n-code-r16"),
        ("x" * 200 + ".jsonl", "x" * 60 + "-r16"),
    ],
)
def test_the_suggested_name_is_always_a_legal_one(file, name):
    assert train_wish.suggested_name(typed(), file) == name
    assert spec(suffix=name).suffix == name


# -- drafts -----------------------------------------------------------------------------------------------------


def draft(who: str = "user-1/team-1", **told) -> str:
    return json.dumps({"who": who, "address": "?file=file-1&x=y", "typed": typed() | told})


def test_a_draft_comes_back_with_the_links_it_was_begun_by():
    found = train_draft.draft_of(draft(**{"schedule.epochs": "no idea", "preset": "quick"}), "user-1/team-1")
    assert found is not None
    assert (found.typed["schedule.epochs"], found.typed["preset"]) == ("no idea", "quick")
    assert found.links == dict.fromkeys(train_draft.LINKS, "") | {"file": "file-1"}


def test_a_draft_holds_a_preset_of_somebodys_own_and_nothing_else_that_is_none():
    for value, held in (("preset-" + "0" * 26, "preset-" + "0" * 26), ("preset-1", "house"), (["quick"], "house")):
        found = train_draft.draft_of(draft(preset=value), "user-1/team-1")
        assert found is not None and found.typed["preset"] == held


@pytest.mark.parametrize(
    "kept", [None, "", "{", "[]", "null", '{"who": "user-1/team-1"}', "[" * 100_000, draft("user-2/team-1")]
)
def test_somebody_elses_draft_and_what_is_none_are_left_alone(kept):
    assert train_draft.draft_of(kept, "user-1/team-1") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method.name", "gone_since"),
        ("preset", ["quick"]),
        ("validation", {}),
        ("schedule.epochs", 3),
        ("lora.options.use_rslora", "yes"),
        ("base", ["base-1"]),
        ("weather", "rain"),
    ],
)
def test_what_no_field_can_hold_is_left_out_of_a_draft(key, value):
    found = train_draft.draft_of(draft(**{key: value}), "user-1/team-1")
    assert found is not None and found.typed.get(key) != value and found.typed["schedule.epochs"] == "3"


# -- YAML -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_settings_come_back_from_yaml_as_they_were(preset, method):
    options = METHODS[method].options.model_validate(preset.method.options if preset.method.name == method else {})
    wished = spec(
        method=MethodChoice(name=method, options=options.model_dump(mode="json")),
        quantisation=preset.quantisation, schedule=preset.schedule, suffix="a-name",
    )  # fmt: skip
    text = train_yaml.write(wished, NAMES)
    pasted = train_yaml.read(text)
    assert (pasted.spec, pasted.names) == (wished, NAMES)
    assert train_yaml.write(pasted.spec, pasted.names) == text and "#" not in text


def test_what_a_text_does_not_say_keeps_its_default():
    pasted = train_yaml.read("schedule: {epochs: 5, learning_rate: 2e-4}\nbase: tiny\n")
    assert pasted.spec.schedule == ScheduleSpec(epochs=5, learning_rate=2e-4)
    assert (pasted.spec.base, pasted.spec.data.training_file) == (BaseId("tiny"), "")


BAD = {
    "nothing": ("  ", "Nothing was pasted."),
    "broken": ("schedule: {epochs: 3", "line 1 is not YAML"),
    "a list": ("- epochs", "settings are lines of the form name: value"),
    "unknown at the top": ("epochs: 3", "epochs is not a setting; there are base, data, method"),
    "unknown inside": ("schedule: {epoch: 3}", "schedule.epoch is not a setting"),
    "unknown option": ("method: {options: {rnk: 4}}", "method.options.rnk is not a setting"),
    "unknown method": ("method: {name: lorra}", "method.name"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "line 1 uses an anchor or alias"),
    "an object": ("base: !!python/object/apply:os.system [ls]", "line 1 uses a tag"),
    "said twice": ("schedule:\n  epochs: 1\n  epochs: 2", "line 3 says epochs a second time"),
    "two documents": ("base: a\n---\nbase: b", "line 2 begins a second document"),
    "too long": ("base: " + "x" * 30_000, "30,006 characters were given"),
    "too deep": ("base: " + "[" * 500 + "]" * 500, "nested 7 deep"),
    "a huge number": (f"schedule: {{epochs: {'9' * 5000}}}", "cannot be read as YAML"),
    "out of range": ("schedule: {epochs: 99}", "schedule.epochs: 99 was given; Epochs goes from 1 to 50."),
    "not a number": ("schedule: {learning_rate: .nan}", "schedule.learning_rate"),
    "yes for a number": ("schedule: {epochs: yes}", "schedule.epochs: True was given; it needs a whole number."),
    "a date as a name": ("suffix: 2026-01-01", "it needs a text. Put it in quotation marks."),
    "empty": ("schedule: {epochs: }", "schedule.epochs: nothing was given"),
    "a number for a part": ("schedule: 3", "schedule is 3; it holds epochs, steps, batch_rows"),
    "a rule across fields": ("schedule: {batch_rows: 2, micro_batch_rows: 4}", "a forward pass cannot hold more rows"),
    "a control character": ("base: \x00", "cannot be read as YAML"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_yaml_is_refused_in_words(kind):
    text, sentence = BAD[kind]
    with pytest.raises(Invalid) as caught:
        train_yaml.read(text)
    problems = caught.value.facts["problems"]
    assert any(sentence in problem for problem in problems), problems
    assert all(problem.endswith(".") and len(problem) < 500 for problem in problems)


def test_all_unknown_settings_are_named_at_once():
    with pytest.raises(Invalid) as caught:
        train_yaml.read("wether: 1\nschedule: {epoch: 2}\nmethod: {options: {rnk: 3}}")
    assert len(caught.value.facts["problems"]) == 3


def test_presets_are_frozen():
    with pytest.raises(ValidationError):
        HOUSE.schedule.epochs = 9


def test_the_page_on_training_explains_every_field_and_every_preset():
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    lines = page.splitlines()
    for field in FIELDS:
        title = field.title.removesuffix(", tokens")
        assert any(line.startswith(f"| {title} | `{field.path}` |") for line in lines), field.path
    for preset in PRESETS.values():
        assert f"| {preset.title} |" in page


# -- rows and mixes ---------------------------------------------------------------------------------------------


def mixed_spec(*weights: float) -> TrainingSpec:
    mixed = [{"file": f"file-{place + 2}", "weight": weight} for place, weight in enumerate(weights)]
    return spec(data={"training_file": "file-1", "rows": {"mixed": mixed, "most_rows": 50, "bad_rows": "stop"}})


@pytest.mark.parametrize("weights", [(), (0.5,), (1, 2.5, 0.1), (1,) * train_mix.MOST])
def test_a_mix_comes_back_from_the_form_and_from_text_as_it_was(weights):
    wished = train_wish.check(train_wish.typed_of(mixed_spec(*weights))).spec
    assert wished is not None and wished.data == mixed_spec(*weights).data
    names = replace(NAMES, mixed=tuple(f"rows-{place}.jsonl" for place in range(len(weights))))
    pasted = train_yaml.read(train_yaml.write(wished, names))
    assert (pasted.spec, pasted.names) == (wished, names)


def test_datasets_are_added_to_the_next_slot_and_taken_out_of_any():
    held = train_wish.typed_of(mixed_spec(0.5, 2.0))
    held |= train_mix.added(held, FileId("file-9"))
    assert train_mix.files(held) == ["file-2", "file-3", "file-9"]
    held |= train_mix.removed(held, 0)
    assert train_mix.told(held) == [{"file": "file-3", "weight": 2}, {"file": "file-9", "weight": 1}]
    full = train_wish.typed_of(mixed_spec(*(1,) * train_mix.MOST))
    assert train_mix.files(train_mix.added(full, FileId("file-x"))) == train_mix.files(full)


def test_a_weight_that_cannot_be_used_is_said_beside_its_own_slot():
    held = train_wish.typed_of(mixed_spec(1, 1)) | {train_mix.WEIGHTS[1]: "none"}
    assert train_wish.check(held).problems == {
        train_mix.WEIGHTS[1]: '"none" was given; Weight needs a number above 0, at most 100. Change it, or reset it.'
    }
    assert train_wish.key_of("data.rows.mixed.1.file", held) == train_mix.FILES[1]


def test_the_column_counts_only_while_rows_stay_together_by_one():
    held = typed(data__rows__column="author")
    checked = train_wish.check(held).spec
    assert checked is not None and checked.data.rows.column is None
    by_column = train_wish.check(held | {train_wish.KEPT_TOGETHER: "column"}).spec
    assert by_column is not None and by_column.data.rows.column == "author"
    missing = train_wish.check(typed() | {train_wish.KEPT_TOGETHER: "column"})
    assert set(missing.problems) == {train_wish.COLUMN}


def test_another_preset_leaves_the_choice_of_rows_alone():
    held = train_wish.typed_of(mixed_spec(0.5))
    after = train_wish.check(train_wish.fill(held, PRESETS["quick"])).spec
    assert after is not None and after.data.rows == mixed_spec(0.5).data.rows and after.schedule.epochs == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {rows: {most: 3}}", "data.rows.most is not a setting"),
        ("data: {rows: 3}", "data.rows is 3; it holds"),
        ("data: {rows: {mixed: {file: a}}}", "data.rows.mixed: {'file': 'a'} was given; it needs a list"),
        ("data: {rows: {mixed: [a]}}", "data.rows.mixed.0: 'a' was given; it needs a file's id and a weight"),
        ("data: {rows: {mixed: [{file: a, weight: x}]}}", "Weight needs a number above 0"),
        ("data: {rows: {mixed: [{file: a, wait: 1}]}}", "data.rows.mixed.0.wait is not a setting"),
        ("data: {rows: {mixed: [" + "{file: a}, " * 9 + "]}}", "a list of up to 8"),
        ("names: {mixed: 3}", ""),
    ],
)
def test_a_text_with_a_mix_that_cannot_be_used_is_refused_in_words(text, said):
    if not said:
        assert train_yaml.read(text).names.mixed == ()
        return
    with pytest.raises(Invalid) as caught:
        train_yaml.read(text)
    assert any(said in problem for problem in caught.value.facts["problems"]), caught.value.facts["problems"]
