"""The learning rate that the form shows, the one that is queued, and the one that a worker trains with: the same."""

import re

import pytest

from models.db.store.team import TeamStore
from models.domain.job import JobKind
from models.domain.training import TrainingSpec
from tests.house import House, quick_house
from tests.training import conversations, training_job
from webapp.actions.estimate_training import estimate_training
from webapp.actions.run_yaml import run_yaml
from webapp.actions.show_training_choices import settings_of_run
from webapp.actions.start_training import start_training
from webapp.views import train_yaml
from worker.stop import Stop
from worker.train.run import run

__all__ = ["quick_house"]
TEXTS = [{"text": f"Note {number}: the stores of Larkspur close at noon on day {number}."} for number in range(12)]
BY_WIDTH = 5e-4 * (2000 / 32) ** 0.78


def checked(house: House, person, kind: str | None) -> str:
    """A file whose rows are all of one kind; None: nobody has looked at it yet."""
    file = house.upload(person, f"{kind}.jsonl", rows=f'{{"text": "{kind}"}}'.encode()).json()["id"]
    if kind is not None:
        house.check_file(file, is_usable=True, rows=12, report={"kinds": {kind: 12}})
    return file


def wish(base: str, file: str, *mixed: str, **more) -> TrainingSpec:
    rows = {"mixed": [{"file": one} for one in mixed]}
    return TrainingSpec.model_validate({"base": base, "data": {"training_file": file, "rows": rows}, **more})


def stored(house: House, person, spec: TrainingSpec) -> tuple[str, TrainingSpec]:
    job = start_training(house.deps, person.principal, spec).job
    return job.id, TrainingSpec.model_validate(job.spec)


def said(jobdir) -> str:
    return " ".join(one.text for one in jobdir.said_since(0)[0] if one.type == "message")


@pytest.mark.parametrize(("kind", "rate"), [("text", 1e-4), ("conversation", BY_WIDTH), (None, BY_WIDTH)])
def test_form_queue_and_worker_agree_on_an_empty_rate(quick_house, tmp_path, kind, rate):
    anna, base = quick_house.person(), quick_house.base()
    spec = wish(base, checked(quick_house, anna, kind), schedule={"learning_rate_multiplier": 0.5})
    assert estimate_training(quick_house.deps, anna.principal, spec).learning_rate == rate / 2
    queued = stored(quick_house, anna, spec)[1].schedule
    rows = TEXTS if kind == "text" else conversations()
    jobdir = training_job(tmp_path, rows=rows, data={"sample_rows": 0}, **queued.model_dump() | {"epochs": 1})
    manifest = run(jobdir, Stop()).result["manifest"]
    assert manifest["learning_rate"] == rate / 2
    assert "recommended" not in said(jobdir)


def test_only_plain_texts_in_every_dataset_take_the_rate_of_texts(quick_house):
    anna, base = quick_house.person(), quick_house.base()
    text, talk, unknown = (checked(quick_house, anna, kind) for kind in ("text", "conversation", None))
    for spec, rate in (
        (wish(base, text, text), 1e-4), (wish(base, text, talk), None), (wish(base, talk, text), None),
        (wish(base, text, unknown), None), (wish(base, text, method={"name": "dora"}), 1e-4),
        (wish(base, text, schedule={"learning_rate": 0.002}), 0.002),
    ):  # fmt: skip
        shown = estimate_training(quick_house.deps, anna.principal, spec).learning_rate
        assert stored(quick_house, anna, spec)[1].schedule.learning_rate == rate
        assert shown == (rate or BY_WIDTH)


def test_a_run_queued_before_there_was_a_rate_of_texts_keeps_its_own(quick_house, tmp_path):
    """It was stored without one, and went by the base's width; so does a resumed one, and one made from its YAML."""
    anna, base = quick_house.person(), quick_house.base()
    old = wish(base, checked(quick_house, anna, "text"))
    with quick_house.deps.database.write() as session:
        job = TeamStore(session, anna.principal).submit(JobKind.TRAIN, old.model_dump(mode="json")).id
    again = train_yaml.read(run_yaml(quick_house.deps, anna.principal, job)).spec
    assert again.schedule.learning_rate == BY_WIDTH
    assert settings_of_run(quick_house.deps, anna.principal, job).schedule.learning_rate == BY_WIDTH
    schedule = old.schedule.model_dump() | {"epochs": 1}
    jobdir = training_job(tmp_path, rows=TEXTS, data={"sample_rows": 0}, **schedule)
    assert run(jobdir, Stop()).result["manifest"]["learning_rate"] == BY_WIDTH
    assert re.search("times the recommended 1.0e-04;.* Give the rate 1.0e-04, unless you mean it.", said(jobdir))


def test_the_yaml_of_a_run_on_texts_says_its_rate_and_starts_it_again_alike(quick_house):
    anna, base = quick_house.person(), quick_house.base()
    job, queued = stored(quick_house, anna, wish(base, checked(quick_house, anna, "text")))
    text = run_yaml(quick_house.deps, anna.principal, job)
    assert "learning_rate: 0.0001" in text
    again = train_yaml.read(text).spec
    assert again == queued
    next_one = stored(quick_house, anna, again.model_copy(update={"suffix": "again"}))[1]
    assert next_one.schedule == queued.schedule
