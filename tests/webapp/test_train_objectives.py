"""DPO and KTO as a person asks for them: on the form, in YAML, in OpenAI's words; and refused before anything waits."""

import pytest
from openai.types.fine_tuning import FineTuningJob
from sqlalchemy import select

from models.db.tables import Metric
from models.domain.objectives import KINDS_OF, OPTIONS_OF, Objective, ObjectiveSpec, misfit
from models.domain.presets import HOUSE
from models.domain.progress import Evaluated, PreferenceFigures, StepDone
from models.domain.training import TrainingSpec
from tests.counted import counted, report_of
from tests.house import House, house
from tests.runs import Run
from webapp.actions.estimate_training import estimate_training
from webapp.views import train_wish, train_yaml
from webapp.views.train_wish import BY_KEY, OBJECTIVE, is_in_use

__all__ = ["house"]

JOBS = "/v1/fine_tuning/jobs"


def typed(**told):
    return train_wish.typed_of(train_wish.spec_of(HOUSE)) | told


@pytest.mark.parametrize("objective", Objective)
def test_the_form_asks_for_the_options_of_the_chosen_objective_only(objective):
    asked = {field.path for field in train_wish.FIELDS if is_in_use(field, typed(**{OBJECTIVE: objective}))}
    named = {path.rpartition(".")[2] for path in asked if path.startswith("objective.") and path != OBJECTIVE}
    assert named == set(OPTIONS_OF[objective]) and OBJECTIVE in asked
    assert set(ObjectiveSpec.model_fields) == {"name", *(name for each in OPTIONS_OF.values() for name in each)}


def test_what_is_typed_becomes_the_objective_and_comes_back_from_yaml():
    told = {OBJECTIVE: "kto", "objective.beta": "0.2", "objective.undesirable_weight": "1.5"}
    spec = train_wish.check(typed(**told)).spec
    assert spec is not None
    assert spec.objective == ObjectiveSpec(name=Objective.KTO, beta=0.2, undesirable_weight=1.5)
    assert train_yaml.read(train_yaml.write(spec, train_yaml.Names())).spec.objective == spec.objective
    assert train_wish.typed_of(spec)["objective.beta"] == "0.2"


def test_an_option_out_of_range_is_said_beside_its_field():
    problems = train_wish.check(typed(**{OBJECTIVE: "dpo", "objective.beta": "0"})).problems
    assert list(problems) == ["objective.beta"] and "Beta goes above 0, at most 2" in problems["objective.beta"]
    assert list(train_wish.check(typed(**{OBJECTIVE: "ppo"})).problems) == [OBJECTIVE]
    assert BY_KEY[OBJECTIVE].choices[1][1] == "dpo"


def test_another_preset_leaves_the_objective_alone():
    assert train_wish.fill(typed(**{OBJECTIVE: "dpo"}), HOUSE)[OBJECTIVE] == "dpo"


def test_a_spec_of_before_is_supervised():
    spec = TrainingSpec.model_validate({"base": "b", "data": {"training_file": "f"}})
    assert spec.objective.name is Objective.SUPERVISED


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("kind", ["conversation", "text", "preference", "labelled"])
def test_a_dataset_of_other_rows_is_refused_with_the_objective_that_takes_it(objective, kind):
    said = misfit({kind: 12}, objective)
    if kind in KINDS_OF[objective]:
        assert said is None
        return
    assert said is not None and said.startswith("holds ")
    right = next(name for name in Objective if kind in KINDS_OF[name])
    assert f"or {'Supervised' if right is Objective.SUPERVISED else right.upper()} as the objective." in said
    assert misfit({kind: 12, KINDS_OF[objective][0]: 1}, objective) is None and misfit({}, objective) is None


def uploaded(house: House, anna, kinds) -> str:
    file = house.upload(anna, "pairs.jsonl").json()["id"]
    house.check_file(file, is_usable=True, rows=20, report={"kinds": kinds})
    return file


def create(house: House, anna, file: str, **body):
    house.base()
    return house.client.post(JOBS, headers=anna.headers, json={"model": "tiny", "training_file": file, **body})


def test_a_dpo_job_is_created_in_openais_words(house: House):
    anna = house.person()
    three = {"n_epochs": 2, "beta": 0.25, "learning_rate_multiplier": "auto"}
    method = {"type": "dpo", "dpo": {"hyperparameters": three}}
    response = create(house, anna, uploaded(house, anna, {"preference": 20}), method=method)
    assert response.status_code == 200, response.text
    job = response.json()
    FineTuningJob.model_validate(job, strict=True)
    assert job["method"]["type"] == "dpo" and job["method"]["dpo"]["hyperparameters"]["beta"] == 0.25
    assert job["hyperparameters"]["n_epochs"] == 2 and "beta" not in job["hyperparameters"]
    assert job["tuneroom"]["spec"]["objective"] | {"name": "dpo", "beta": 0.25} == job["tuneroom"]["spec"]["objective"]


def test_a_kto_job_takes_its_weights_from_our_knobs(house: House):
    anna = house.person()
    aim = {"objective": {"name": "kto", "undesirable_weight": 1.5}}
    response = create(house, anna, uploaded(house, anna, {"labelled": 20}), method={"type": "kto"}, tuneroom=aim)
    assert response.status_code == 200, response.text
    assert response.json()["tuneroom"]["spec"]["objective"]["undesirable_weight"] == 1.5


@pytest.mark.parametrize(
    ("kinds", "method", "said"),
    [
        ({"preference": 20}, "supervised", "preference pairs; a supervised run needs conversations or texts"),
        ({"conversation": 20}, "dpo", "holds conversations; DPO needs preference pairs"),
        ({"preference": 20}, "kto", "holds preference pairs; KTO needs labelled answers"),
    ],
)
def test_rows_that_the_objective_cannot_use_are_refused_before_anything_is_queued(house: House, kinds, method, said):
    anna = house.person()
    response = create(house, anna, uploaded(house, anna, kinds), method={"type": method})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "training_file") and said in error["message"]


def test_beta_said_twice_with_two_values_is_refused(house: House):
    anna = house.person()
    method = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}}
    aim = {"objective": {"beta": 0.3}}
    response = create(house, anna, uploaded(house, anna, {"preference": 20}), method=method, tuneroom=aim)
    assert response.json()["error"]["param"] == "tuneroom.objective"


def test_a_pair_is_one_row_of_two_sequences_at_a_small_rate(house: House):
    anna, base = house.person(), house.base()
    file = house.upload(anna, "pairs.jsonl").json()["id"]
    house.check_file(file, is_usable=True, rows=100, report={"kinds": {"preference": 100}})
    counted(house, anna, file, base, report_of({40: 200}))
    told = {"base": base, "data": {"training_file": file, "validation_fraction": 0, "max_length": 64}}
    plain, aimed = (
        estimate_training(house.deps, anna.principal, TrainingSpec.model_validate(told | {"objective": {"name": name}}))
        for name in ("supervised", "dpo")
    )
    assert aimed.rows is not None and plain.rows == 2 * aimed.rows
    assert aimed.tokens_per_pass == 2 * (plain.tokens_per_pass or 0)
    assert aimed.learning_rate == 5e-6 < (plain.learning_rate or 0)


def test_the_figures_of_a_preference_run_become_curves_where_there_are_any(house: House):
    anna = house.person()
    run = Run(house, anna, base=house.base()).claim()
    some = PreferenceFigures(chosen=-5.0, rejected=-7.5, margin=0.2, accuracy=1.0, kl=0.1)
    run.say(
        StepDone(step=1, total_steps=2, epoch=0.5, loss_per_token=0.6, grad_norm=1.0, learning_rate=5e-6,
                 trained_tokens=9, step_seconds=0.1, preference=some),
        Evaluated(step=1, loss_per_token=0.6, trained_tokens=9, preference=PreferenceFigures(chosen=-4.0, kl=0.3)),
    )  # fmt: skip
    with house.deps.database.read() as session:
        found = {one.series: one.value for one in session.scalars(select(Metric).where(Metric.job_id == run.id))}
    told = {"chosen_logp": -5.0, "rejected_logp": -7.5, "margin": 0.2, "accuracy": 1.0, "kl": 0.1}
    assert found | told == found
    assert {name for name in found if name.startswith("eval_")} == {"eval_loss", "eval_chosen_logp", "eval_kl"}
    assert found["eval_chosen_logp"] == -4.0
