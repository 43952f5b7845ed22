"""A run as YAML and back: equal settings for whatever a training may say, and the file that its pages offer."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.catalog.methods import METHODS
from models.domain.objectives import OPTIONS_OF, Objective
from models.domain.training import MethodChoice, TrainingSpec
from tests.house import house, quick_house
from webapp.actions.start_training import start_training
from webapp.views import local_job, train_yaml
from webapp.views.fields import Field, Kind
from webapp.views.train_wish import FIELDS, METHOD, is_option, option_fields

__all__ = ["house", "quick_house"]
PLAIN = [field for field in FIELDS if not is_option(field) and field.key != METHOD]


def values(field: Field) -> st.SearchStrategy[Any]:
    """What the form lets somebody say there; numbers with every digit a program might send."""
    low, high = field.least or 0, field.most if field.most is not None else 10**6
    match field.kind:
        case Kind.CHOICE:
            return st.sampled_from([value for _, value in field.choices])
        case Kind.SWITCH:
            return st.booleans()
        case Kind.WHOLE:
            return st.integers(int(low), int(high))
        case Kind.NUMBER:
            return st.floats(low, high, exclude_min=field.is_open)
        case Kind.NAMES:
            several = st.lists(st.sampled_from(["q_proj", "v_proj", "up_proj"]), min_size=2, max_size=3, unique=True)
            return st.one_of(st.just(field.default), several)  # a list of one name is that name
        case Kind.PAIRS:
            words = st.text("abc_", min_size=1, max_size=5)
            return st.dictionaries(words, st.one_of(st.booleans(), st.integers(-9, 9), words), max_size=2)
        case Kind.TEXT:
            return st.text("abc._-", min_size=1, max_size=9)


@st.composite
def specs(draw: st.DrawFn) -> TrainingSpec:
    """Any training with a few settings of its own; what no training may say is drawn again."""
    method = draw(st.sampled_from(sorted(METHODS)))
    options = {field.path.rpartition(".")[2]: field for field in option_fields(method)}
    chosen = draw(st.lists(st.sampled_from(sorted(options)), max_size=2, unique=True)) if options else []
    told: dict[str, Any] = {
        "base": "base-1", "data": {"training_file": "file-1"}, "suffix": draw(st.sampled_from([None, "tone-2"])),
        "method": {"name": method, "options": {name: draw(values(options[name])) for name in chosen}},
    }  # fmt: skip
    for field in draw(st.lists(st.sampled_from(PLAIN), max_size=5, unique_by=lambda field: field.path)):
        place = told
        *folders, name = field.path.split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = draw(values(field))
    aim = told.get("objective", {})  # options that another objective reads are not told
    used = OPTIONS_OF[Objective(aim.get("name", Objective.SUPERVISED))]
    told["objective"] = {name: value for name, value in aim.items() if name == "name" or name in used}
    try:
        spec = TrainingSpec.model_validate(told)
        checked = METHODS[method].options.model_validate(spec.method.options)
    except ValidationError:
        return draw(specs())
    choice = MethodChoice(name=method, options=checked.model_dump(mode="json"))
    return spec.model_copy(update={"method": choice})


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(specs())
def test_whatever_a_training_says_comes_back_from_its_yaml(spec):
    text = train_yaml.write(spec, train_yaml.Names(base="tiny"))
    assert train_yaml.read(text).spec == spec
    local = local_job.read(text)
    assert local.spec == spec.model_copy(update={"base": "", "data": local.spec.data, "start_adapter": None})
    assert local.start_adapter == spec.start_adapter
    assert local.spec.data == spec.data.model_copy(update={"training_file": "training"})


@pytest.mark.parametrize("rate", [1 / 3, 1.2345678901234567e-07, 0.1 + 0.2])
def test_a_rate_from_a_program_keeps_every_digit(rate):
    told = {"base": "b", "data": {"training_file": "f"}, "schedule": {"learning_rate": rate, "warmup_ratio": rate / 2}}
    spec = TrainingSpec.model_validate(told)
    assert train_yaml.read(train_yaml.write(spec, train_yaml.Names())).spec.schedule == spec.schedule


def test_a_run_is_a_file_of_its_settings_that_starts_an_equal_one(quick_house):
    person, base = quick_house.person(), quick_house.base()
    files = [quick_house.upload(person, name).json()["id"] for name in ("rows.jsonl", "more.jsonl")]
    spec = TrainingSpec.model_validate(
        {
            "base": base, "suffix": "tone", "schedule": {"epochs": 2, "learning_rate": 1 / 3},
            "data": {"training_file": files[0], "rows": {"mixed": [{"file": files[1], "weight": 0.5}]}},
        }
    )  # fmt: skip
    job = start_training(quick_house.deps, person.principal, spec).job
    answer = quick_house.client.get(f"/api/v1/jobs/{job.id}/spec.yaml", headers=person.headers)
    assert answer.headers["content-type"].startswith("application/yaml")
    assert answer.headers["content-disposition"] == f'attachment; filename="{job.id}.yaml"'
    pasted = train_yaml.read(answer.text)
    assert pasted.names == train_yaml.Names(base="tiny", training_file="rows.jsonl", mixed=("more.jsonl",))
    again = start_training(quick_house.deps, person.principal, pasted.spec).job
    assert again.id != job.id and again.spec == job.spec


def test_only_a_training_has_settings_to_run_again(quick_house):
    person = quick_house.person()
    quick_house.upload(person)
    jobs = quick_house.client.get("/api/v1/jobs", headers=person.headers).json()["data"]
    answer = quick_house.client.get(f"/api/v1/jobs/{jobs[0]['id']}/spec.yaml", headers=person.headers)
    assert jobs[0]["kind"] == "check_data" and answer.status_code == 404
