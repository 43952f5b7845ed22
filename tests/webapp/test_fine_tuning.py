"""/v1/fine_tuning/jobs: the exact objects, our knobs, refusals by field, repetition, paging, cancel."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from sqlalchemy import func, select

from models.db.store.system import SystemStore
from models.db.tables import Job
from models.domain.errors import Code, JobFailed
from models.domain.job import JobState, Lane
from models.domain.progress import Evaluated, StepDone
from tests.house import error_of

JOBS = "/v1/fine_tuning/jobs"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def anna(house):
    house.base()
    return house.person()


def create(house, person, headers=None, **changes):
    body = {"model": "tiny", "training_file": house.upload(person).json()["id"]} | changes
    return house.client.post(JOBS, json=body, headers=person.headers | (headers or {}))


def claim(house):
    with house.deps.database.write() as session:
        return SystemStore(session).claim(Lane.JOBS, "worker-test", 60)


def jobs_in(house) -> int:
    with house.deps.database.read() as session:
        return session.scalar(select(func.count()).select_from(Job).where(Job.kind == "train"))


def test_a_new_job_is_openais_object_and_tells_our_spec(house, anna):
    response = create(house, anna, suffix="my-suffix", metadata={"team": "red"}, seed=7)
    job = response.json()
    assert response.status_code == 200
    FineTuningJob.model_validate(job, strict=True)
    assert (job["model"], job["status"], job["seed"]) == ("tiny", "validating_files", 7)
    assert (job["metadata"], job["user_provided_suffix"]) == ({"team": "red"}, "my-suffix")
    assert job["hyperparameters"] == {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}
    assert job["tuneroom"]["spec"]["method"]["options"]["rank"] == 16


def test_a_job_waits_as_queued_once_its_file_is_checked(house, anna):
    job = create(house, anna).json()
    house.check_file(job["training_file"], is_usable=True)
    assert house.client.get(f"{JOBS}/{job['id']}", headers=anna.headers).json()["status"] == "queued"


def test_our_knobs_travel_in_one_extra_object(house, anna):
    knobs = {
        "method": {"name": "lora", "options": {"rank": 4, "alpha": 8}},
        "quantisation": "none",
        "data": {"max_length": 128},
        "schedule": {"batch_rows": 2, "save_every": 5},
    }
    spec = create(house, anna, tuneroom=knobs).json()["tuneroom"]["spec"]
    assert spec["method"]["options"] | {"rank": 4, "alpha": 8} == spec["method"]["options"]
    assert (spec["quantisation"], spec["data"]["max_length"]) == ("none", 128)
    assert (spec["schedule"]["batch_rows"], spec["schedule"]["save_every"]) == (2, 5)


@pytest.mark.parametrize("where", ["hyperparameters", "method"])
def test_openais_hyperparameters_are_understood_in_both_places(house, anna, where):
    three = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    given = three if where == "hyperparameters" else {"type": "supervised", "supervised": {"hyperparameters": three}}
    job = create(house, anna, **{where: given}).json()
    assert job["hyperparameters"] == {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 0.5}


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"model": "no-such-base"}, 404, "model"),
        ({"model": "ft:tiny:default::abc"}, 400, "model"),
        ({"training_file": "file-unknown"}, 404, "training_file"),
        ({"validation_file": "file-unknown"}, 404, "validation_file"),
        ({"training_file": 5}, 400, "training_file"),
        ({"suffix": "has space"}, 400, "suffix"),
        ({"suffix": "x" * 65}, 400, "suffix"),
        ({"seed": -1}, 400, "seed"),
        ({"hyperparameters": {"n_epochs": 51}}, 400, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 0}}, 400, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"epochs": 1}}, 400, "hyperparameters.epochs"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, 400, "method.type"),
        ({"method": {"type": "supervised", "dpo": {}}}, 400, "method.dpo"),
        ({"method": {"type": "dpo"}, "tuneroom": {"objective": {"name": "kto"}}}, 400, "tuneroom.objective"),
        ({"tuneroom": {"objective": {"beta": 3}}}, 400, "tuneroom.objective.beta"),
        ({"integrations": [{"type": "wandb"}]}, 400, "integrations"),
        ({"metadata": {str(n): "x" for n in range(17)}}, 400, "metadata"),
        ({"metadata": {"k": "x" * 513}}, 400, "metadata.k"),
        ({"tuneroom": {"rank": 8}}, 400, "tuneroom.rank"),
        ({"tuneroom": {"quantisation": "int3"}}, 400, "tuneroom.quantisation"),
        ({"tuneroom": {"schedule": {"learning_rate": 7}}}, 400, "tuneroom.schedule.learning_rate"),
        ({"tuneroom": {"schedule": {"micro_batch_rows": 9}}}, 400, "tuneroom.schedule"),
        ({"tuneroom": {"data": {"max_length": 2}}}, 400, "tuneroom.data.max_length"),
        ({"tuneroom": {"data": {"training_file": "file-x"}}}, 400, "tuneroom.data.training_file"),
        ({"tuneroom": {"method": {"name": "magic"}}}, 400, "tuneroom.method.name"),
        ({"tuneroom": {"method": {"options": {"rank": 0}}}}, 400, "tuneroom.method.options.rank"),
        ({"tuneroom": {"method": {"options": {"colour": 1}}}}, 400, "tuneroom.method.options.colour"),
        ({"tuneroom": {"method": {"options": {"targets": ["z_proj"]}}}}, 400, "method.options.targets"),
        ({"hyperparameters": {"n_epochs": 2}, "tuneroom": {"schedule": {"epochs": 3}}}, 400, "tuneroom.schedule"),
        ({"colour": "red"}, 400, "colour"),
        ({"suffix": "a\0b"}, 400, None),
        ({"metadata": {"k": "\ud800"}}, 400, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_is_refused_with_the_field_and_nothing_is_queued(quick_house, changes, status, param):
    quick_house.base()
    anna = quick_house.person()
    body = {"model": "tiny", "training_file": quick_house.upload(anna).json()["id"]} | changes
    response = quick_house.client.post(JOBS, content=json.dumps(body), headers=anna.headers | JSON)
    error = error_of(response)
    assert (response.status_code, error["param"]) == (status, param), error
    assert len(error["message"]) > 20
    assert response.headers["x-should-retry"] == "false"
    assert jobs_in(quick_house) == 0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model": NaN}', b"[" * 100_000, b'{"seed": 1' + b"0" * 5000 + b"}", b"\xff"]
)
def test_a_body_that_is_no_object_is_a_sentence(quick_house, body):
    anna = quick_house.person()
    response = quick_house.client.post(JOBS, content=body, headers=anna.headers | JSON)
    assert response.status_code == 400
    error_of(response)


def test_a_file_known_to_be_broken_is_refused_with_what_the_check_found(house, anna):
    file = house.upload(anna).json()["id"]
    house.check_file(file, is_usable=False, details="No row of 4 can be used.")
    response = create(house, anna, training_file=file)
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_training_file", "training_file")
    assert "No row of 4 can be used." in error["message"]


def test_a_create_repeated_within_seconds_is_the_same_job(house, anna):
    first, second = create(house, anna).json(), create(house, anna).json()
    assert first["id"] == second["id"]
    assert create(house, anna, seed=1).json()["id"] != first["id"]


def test_after_a_cancel_the_same_create_is_a_new_try(house, anna):
    first = create(house, anna).json()["id"]
    house.client.post(f"{JOBS}/{first}/cancel", headers=anna.headers)
    assert create(house, anna).json()["id"] != first


def test_equal_creates_that_arrive_at_once_are_one_job(house, anna):
    body = {"model": "tiny", "training_file": house.upload(anna).json()["id"]}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: house.client.post(JOBS, json=body, headers=anna.headers), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == jobs_in(house) == 1


def test_an_idempotency_key_decides_over_the_body(house, anna):
    one = create(house, anna, headers={"Idempotency-Key": "a"}).json()["id"]
    two = create(house, anna, headers={"Idempotency-Key": "b"}).json()["id"]
    assert one != two
    assert create(house, anna, headers={"Idempotency-Key": "a"}).json()["id"] == one


def test_twenty_jobs_are_accepted_quickly_while_the_broker_is_away(house, anna):
    """R6, the first half: the row is the record. The fault suite proves that they run later."""
    for seed in range(20):
        began = time.monotonic()
        assert create(house, anna, seed=seed).status_code == 200
        assert time.monotonic() - began <= 2
    assert jobs_in(house) == 20


def test_the_list_pages_filters_by_metadata_and_knows_jobs_without_any(house, anna):
    ids = [create(house, anna, seed=n, metadata={"n": str(n % 2)} if n < 4 else None).json()["id"] for n in range(5)]
    seen, after = [], None
    while True:
        query = {"limit": 2} | ({"after": after} if after else {})
        page = house.client.get(JOBS, params=query, headers=anna.headers).json()
        seen += [job["id"] for job in page["data"]]
        after = seen[-1]
        if not page["has_more"]:
            break
    assert seen == ids[::-1]

    def found(query):
        return [job["id"] for job in house.client.get(f"{JOBS}?{query}", headers=anna.headers).json()["data"]]

    assert found("metadata[n]=1") == [ids[3], ids[1]]
    assert found("metadata=null") == [ids[4]]
    assert house.client.get(f"{JOBS}?metadata=x", headers=anna.headers).status_code == 400
    assert house.client.get(f"{JOBS}?limit=0", headers=anna.headers).status_code == 400


def test_a_queued_job_is_cancelled_at_once_and_a_second_cancel_is_a_conflict_nobody_retries(house, anna):
    job = create(house, anna).json()["id"]
    assert house.client.post(f"{JOBS}/{job}/cancel", headers=anna.headers).json()["status"] == "cancelled"
    again = house.client.post(f"{JOBS}/{job}/cancel", headers=anna.headers)
    assert (again.status_code, error_of(again)["code"]) == (409, "conflict")
    assert again.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("how", [{"params": {"keep": "true"}}, {"json": {"keep_adapter": True}}, {}])
def test_a_cancel_can_wish_to_keep_the_adapter(house, anna, how):
    job = create(house, anna).json()["id"]
    claimed = claim(house)
    house.client.post(f"{JOBS}/{job}/cancel", headers=anna.headers, **how)
    with house.deps.database.write() as session:
        assert SystemStore(session).beat(job, claimed.fence, 60) == ("keep" if how else "discard")


def test_events_come_newest_first_and_page(house, anna):
    job = create(house, anna).json()["id"]
    claim(house)
    house.client.post(f"{JOBS}/{job}/cancel", headers=anna.headers)
    events = house.client.get(f"{JOBS}/{job}/events", headers=anna.headers).json()
    for event in events["data"]:
        FineTuningJobEvent.model_validate(event, strict=True)
    assert [event["message"].split(",")[0] for event in events["data"]] == [
        "cancel asked", "queued -> running", "created -> queued",
    ]  # fmt: skip
    rest = house.client.get(
        f"{JOBS}/{job}/events", params={"after": events["data"][0]["id"], "limit": 1}, headers=anna.headers
    ).json()
    assert (rest["data"], rest["has_more"]) == ([events["data"][1]], True)
    assert house.client.get(f"{JOBS}/{job}/events?after=x", headers=anna.headers).status_code == 400


def test_a_failed_job_says_why_in_openais_words(house, anna):
    job = create(house, anna).json()["id"]
    claimed = claim(house)
    error = JobFailed("row 4 has no answer", code=Code.INVALID_TRAINING_FILE, path="/var/secret")
    with house.deps.database.write() as session:
        SystemStore(session).settle(job, claimed.fence, JobState.FAILED, error=error)
    seen = house.client.get(f"{JOBS}/{job}", headers=anna.headers)
    assert seen.json()["status"] == "failed"
    assert seen.json()["error"] == {
        "code": "invalid_training_file", "message": "row 4 has no answer", "param": "training_file",
    }  # fmt: skip
    assert "/var/secret" not in seen.text


def test_metrics_checkpoints_and_an_estimate_follow_the_running_job(house, anna):
    job = create(house, anna).json()["id"]
    claimed = claim(house)
    said = [_step(n) for n in range(1, 5)] + [Evaluated(step=4, loss_per_token=0.5, trained_tokens=9)]
    with house.deps.database.write() as session:
        store = SystemStore(session)
        store.record(job, claimed.fence, said)
        for step in (2, 4):
            store.checkpoint_saved(job, claimed.fence, step=step, scope="team/x", tree_sha256="a" * 64, size=1)
    metrics = house.client.get(f"/api/v1/jobs/{job}/metrics?series=train_loss", headers=anna.headers).json()
    assert [point["value"] for point in metrics["series"]["train_loss"]] == [1.0, 0.5, 1 / 3, 0.25]
    page = house.client.get(f"{JOBS}/{job}/checkpoints?limit=1", headers=anna.headers).json()
    assert (page["data"][0]["step_number"], page["has_more"]) == (4, True)
    assert page["data"][0]["metrics"] == {"step": 4, "train_loss": 0.25, "full_valid_loss": 0.5}
    older = house.client.get(f"{JOBS}/{job}/checkpoints?after={page['last_id']}", headers=anna.headers).json()
    assert [checkpoint["step_number"] for checkpoint in older["data"]] == [2]
    for path in (f"checkpoints?after=ftckpt_x-{2**31}", f"events?after=ftevent-{2**63}", "events?after=ftevent-²"):
        assert house.client.get(f"{JOBS}/{job}/{path}", headers=anna.headers).status_code == 400
    seen = house.client.get(f"{JOBS}/{job}", headers=anna.headers).json()
    assert (seen["status"], seen["tuneroom"]["progress"]) == ("running", {"done": 4, "total": 8, "unit": "steps"})
    assert seen["estimated_finish"] >= seen["created_at"]


def test_a_finished_job_names_its_model(house, anna):
    job, adapter = house.trained(anna, house.base("other"))
    seen = house.client.get(f"{JOBS}/{job}", headers=anna.headers).json()
    assert seen["status"] == "succeeded"
    assert seen["fine_tuned_model"].startswith("ft:other:default::")
    assert seen["tuneroom"]["adapter"] == adapter


@pytest.mark.parametrize("path", ["ftjob-unknown", "%00", "..%2f..%2fetc", "job-" + "x" * 500])
def test_an_unknown_job_is_absent(house, anna, path):
    response = house.client.get(f"{JOBS}/{path}", headers=anna.headers)
    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")


def test_other_kinds_of_jobs_are_not_fine_tuning_jobs(house, anna):
    house.upload(anna)
    check = house.client.get("/api/v1/jobs", headers=anna.headers).json()["data"][0]["id"]
    assert house.client.get(f"{JOBS}/{check}", headers=anna.headers).status_code == 404
    assert house.client.post(f"{JOBS}/{check}/cancel", headers=anna.headers).status_code == 404


def _step(number: int) -> StepDone:
    return StepDone(
        step=number, total_steps=8, epoch=0.1, loss_per_token=1 / number, grad_norm=0.5, learning_rate=1e-3,
        trained_tokens=7, step_seconds=0.1,
    )  # fmt: skip
