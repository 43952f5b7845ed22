"""Presets over HTTP: of one person or shared with the team, checked as the form checks, exported and read as YAML."""

import pytest
import yaml

from models.db.store import team_presets
from models.db.store.team import TeamStore
from models.domain.access import Role
from models.domain.errors import Invalid
from models.domain.presets import HOUSE
from tests.house import error_of
from webapp.actions.presets import list_presets, read_settings
from webapp.views import train_wish

SETTINGS = {
    "data": {"max_length": 1024, "template_arguments": {"enable_thinking": False}},
    "method": {"name": "dora", "options": {"rank": 8}},
    "quantisation": "none",
    "schedule": {"epochs": 5, "learning_rate": 2e-05},
}
JOB = """
base: base-01abc
data: {training_file: file-01abc, validation_fraction: 0.2, max_length: 512, rows: {most_rows: 50}}
objective: {name: dpo, beta: 0.3}
method: {name: lora, options: {rank: 4}}
schedule: {seed: 9}
suffix: tone
start_adapter: adapter-01abc
names: {base: tiny}
"""


def call(house, person, method, path="", **body):
    return house.client.request(method, f"/api/v1/presets{path}", headers=person.headers, json=body or None)


def saved(house, person, name="Tone", *, settings=SETTINGS, is_shared=False):
    answered = call(house, person, "POST", name=name, settings=settings, is_shared=is_shared)
    assert answered.status_code == 201, answered.text
    return answered.json()


def names(house, person):
    return [preset["name"] for preset in call(house, person, "GET").json()["data"]]


def test_a_preset_keeps_settings_written_out_and_no_base_and_no_ids(house):
    preset = saved(house, house.person())
    assert set(preset["settings"]) == {"data", "method", "quantisation", "schedule"}
    assert preset["settings"]["method"]["options"]["rank"] == 8
    assert preset["settings"]["method"]["options"]["alpha"] == 32  # the default of the day is part of it
    assert preset["settings"]["schedule"]["learning_rate"] == 2e-05
    assert not {"training_file", "validation_file", "rows"} & set(preset["settings"]["data"])
    spec = read_settings(preset["settings"])
    assert (spec.base, spec.data.training_file, spec.data.template_arguments) == ("", "", {"enable_thinking": False})


def test_one_kept_for_oneself_is_there_for_nobody_else(house):
    anna = house.person()
    others = [house.person(Role.OWNER), house.person(), house.person(Role.VIEWER)]
    preset = saved(house, anna)["id"]
    for other in others:
        assert names(house, other) == []
        for method, path, body in (
            ("GET", "", {}), ("GET", "/preset.yaml", {}), ("PATCH", "", {"name": "x"}), ("DELETE", "", {}),
        ):  # fmt: skip
            assert call(house, other, method, f"/{preset}{path}", **body).status_code == 404
    assert names(house, anna) == ["Tone"]


def test_a_shared_one_is_read_by_all_and_changed_by_its_author_and_owners(house):
    anna, olga = house.person(), house.person(Role.OWNER)
    bert, vera = house.person(), house.person(Role.VIEWER)
    preset = saved(house, anna)["id"]
    assert call(house, anna, "PATCH", f"/{preset}", is_shared=True).json()["is_shared"]
    for other in (bert, vera):
        (seen,) = call(house, other, "GET").json()["data"]
        assert (seen["name"], seen["is_mine"]) == ("Tone", False) and "@" in seen["created_by"]
        assert call(house, other, "PATCH", f"/{preset}", name="Mine").status_code == 403
        assert call(house, other, "DELETE", f"/{preset}").status_code == 403
    assert call(house, olga, "PATCH", f"/{preset}", name="House tone").json()["name"] == "House tone"
    assert call(house, vera, "POST", name="x").status_code == 403
    assert call(house, olga, "DELETE", f"/{preset}").json() == {"id": preset, "object": "preset", "deleted": True}
    assert names(house, anna) == [] and call(house, anna, "GET", f"/{preset}").status_code == 404


def test_ones_own_come_first_and_then_by_name(house):
    anna, bert = house.person(), house.person()
    saved(house, bert, "Alpha", is_shared=True)
    saved(house, anna, "zeta")
    saved(house, anna, "Beta", is_shared=True)
    assert names(house, anna) == ["Beta", "zeta", "Alpha"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("  ", "has no name"),
        ("x" * 65, "has 65 characters; at most 64 fit"),
        ("a\x07b", "cannot be shown"),
        ("house DEFAULT", "one of Tuneroom's own presets"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_in_words(quick_house, name, said):
    answered = call(quick_house, quick_house.person(), "POST", name=name)
    assert answered.status_code == 400 and said in error_of(answered)["message"]
    assert error_of(answered)["param"] == "name"


def test_two_presets_of_one_person_never_have_one_name(house):
    anna, bert = house.person(), house.person()
    first, other = saved(house, anna), saved(house, anna, "Other")
    assert call(house, anna, "POST", name="tone ").status_code == 409
    assert call(house, anna, "PATCH", f"/{other['id']}", name="TONE").status_code == 409
    assert call(house, anna, "PATCH", f"/{first['id']}", name="TONE").json()["name"] == "TONE"
    saved(house, bert, is_shared=True)  # another person's may be called the same
    assert call(house, anna, "DELETE", f"/{first['id']}").status_code == 200
    saved(house, anna)


def test_a_person_keeps_no_more_than_so_many(quick_house, monkeypatch):
    monkeypatch.setattr(team_presets, "MOST_OF_A_PERSON", 2)
    anna = quick_house.person()
    saved(quick_house, anna, "one"), saved(quick_house, anna, "two")
    answered = call(quick_house, anna, "POST", name="three")
    assert (answered.status_code, "Delete one first" in error_of(answered)["message"]) == (409, True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"schedule": {"epochs": 99}}, "schedule.epochs: 99 was given; Epochs goes from 1 to 50"),
        ({"schedule": {"epoch": 2}}, "schedule.epoch is not a setting"),
        ({"method": {"name": "lora", "options": {"rank": 0}}}, "method.options.rank: 0 was given"),
        ({"method": {"name": "magic"}}, '"magic" is not a method'),
        ({"schedule": 3}, "schedule is 3; it holds"),
        ({"schedule": {"batch_rows": 2, "micro_batch_rows": 4}}, "Lower micro_batch_rows"),
        ({"data": {"template_arguments": {"a": {"b": {"c": {"d": {"e": 1}}}}}}}, "nested"),
    ],
)
def test_settings_that_no_training_takes_are_refused_by_their_path(quick_house, settings, said):
    answered = call(quick_house, quick_house.person(), "POST", name="x", settings=settings)
    assert answered.status_code == 400 and said in error_of(answered)["message"]


def test_a_preset_goes_to_another_team_as_yaml(house):
    anna, olaf = house.person(), house.person(Role.MEMBER, house.team("others"))
    preset = saved(house, anna, "Töne / 2")
    exported = call(house, anna, "GET", f"/{preset['id']}/preset.yaml")
    assert exported.headers["content-disposition"] == "attachment; filename*=UTF-8''T%C3%B6ne%20%2F%202.yaml"
    assert yaml.safe_load(exported.text) == {"preset": "Töne / 2"} | preset["settings"]
    there = call(house, olaf, "POST", "/import", yaml=exported.text, is_shared=True).json()
    assert (there["name"], there["settings"], there["is_shared"]) == ("Töne / 2", preset["settings"], True)
    assert call(house, olaf, "POST", "/import", yaml=exported.text, name="Again").json()["name"] == "Again"


def test_of_a_whole_training_only_the_settings_are_taken(quick_house):
    preset = call(quick_house, quick_house.person(), "POST", "/import", yaml=JOB, name="From a run").json()
    spec = read_settings(preset["settings"])
    assert (spec.data.max_length, spec.schedule.seed, spec.method.options["rank"]) == (512, 9, 4)
    assert spec.objective.name == "supervised" and spec.start_adapter is None and spec.suffix is None
    assert "-01abc" not in str(preset["settings"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Nothing was pasted"),
        ("preset: x\nschedule: {epochs: many}", '"many" was given'),
        ("preset: x\nwrong: 1", "wrong is not a setting"),
        ("schedule: {epochs: 2}", "names no preset"),
        ("preset: &a x\nsuffix: *a", "anchor or alias"),
        ("preset: x\n- y", "line 2 is not YAML"),
        ("x" * 20_001, "up to 20,000"),
    ],
)
def test_what_is_no_preset_is_said_in_words(quick_house, text, said):
    answered = call(quick_house, quick_house.person(), "POST", "/import", yaml=text)
    assert answered.status_code == 400 and said in error_of(answered)["message"]


def test_a_preset_that_this_version_no_longer_knows_says_so_when_it_is_applied(quick_house):
    anna = quick_house.person()
    with quick_house.deps.database.write() as session:
        TeamStore(session, anna.principal).add_preset(
            "Old", {"schedule": {"epochs": 3, "momentum": 0.9}}, is_shared=False
        )
    (seen,) = list_presets(quick_house.deps, anna.principal)
    with pytest.raises(Invalid) as caught:
        read_settings(seen.settings)
    assert caught.value.facts["problems"][0].startswith("schedule.momentum is not a setting")


def test_the_settings_of_a_built_in_preset_come_back_as_they_are(quick_house):
    spec = train_wish.check(train_wish.typed_of(train_wish.spec_of(HOUSE))).spec
    told = spec.model_dump(mode="json", exclude={"base", "suffix", "objective", "start_adapter"})
    preset = saved(quick_house, quick_house.person(), settings={**told, "data": {"max_length": 2048}})
    assert read_settings(preset["settings"]) == spec
