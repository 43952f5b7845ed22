"""Sweeps over HTTP: all runs or none, once, compared with the chance between seeds, cancelled while they wait."""

import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Role
from models.domain.job import JobKind, JobState, Lane, Phase
from models.domain.progress import Evaluated, PhaseBegan, StepDone
from models.domain.swept import standings
from tests.house import error_of

RANK, SEED = "method.options.rank", "schedule.seed"


@pytest.fixture
def anna(house):
    return house.person()


@pytest.fixture
def wish(house, anna):
    house.base()
    job = {"model": "tiny", "training_file": house.upload(anna).json()["id"], "tuneroom": {"schedule": {"epochs": 2}}}
    knobs = [{"path": RANK, "values": [4, 8]}, {"path": SEED, "values": [1, 2]}]
    return {"name": "tone", "job": job, "knobs": knobs}


def start(house, person, wish, **headers):
    return house.client.post("/api/v1/sweeps", json=wish, headers=person.headers | headers)


def trainings(house, person) -> int:
    with house.deps.database.read() as session:
        return len(TeamStore(session, person.principal).jobs(limit=99, kinds=(JobKind.TRAIN,)).items)


def work(house, held_out: float, *, to: JobState | None = JobState.SUCCEEDED) -> str:
    """The next run of the queue as a worker leaves it; returns its id."""
    with house.deps.database.write() as session:
        store = SystemStore(session)
        job = store.claim(Lane.JOBS, "worker-test", 600)
        assert job is not None
        said = [PhaseBegan(phase=Phase.TRAINING)]
        said += [
            StepDone(
                step=step, total_steps=4, epoch=1, loss_per_token=2.0 / step, grad_norm=1, learning_rate=1e-3,
                trained_tokens=200, step_seconds=0.5,
            )
            for step in range(1, 5)
        ]  # fmt: skip
        store.record(job.id, job.fence, [*said, Evaluated(step=4, loss_per_token=held_out, trained_tokens=9)])
        if to is not None:
            store.settle(job.id, job.fence, to)
        return job.id


def test_a_grid_becomes_a_group_of_runs_that_say_their_values(house, anna, wish):
    made = start(house, anna, wish).json()
    assert made["object"] == "sweep" and made["counts"] == {"queued": 4} and made["seed_spread"] is None
    assert [run["values"] for run in made["runs"]] == [
        {RANK: rank, SEED: seed} for rank in (4, 8) for seed in (1, 2)
    ]  # fmt: skip
    spec = house.client.get(f"/api/v1/jobs/{made['runs'][2]['job']}", headers=anna.headers).json()["spec"]
    assert (spec["method"]["options"]["rank"], spec["schedule"]["seed"], spec["schedule"]["epochs"]) == (8, 1, 2)
    assert spec["suffix"] == "tone-rank8-seed1"
    assert house.client.get(f"/api/v1/sweeps/{made['id']}", headers=anna.headers).json() == made


def test_a_repeated_request_makes_no_second_sweep(house, anna, wish):
    first = start(house, anna, wish).json()["id"]
    assert start(house, anna, wish).json()["id"] == first
    assert start(house, anna, wish, **{"Idempotency-Key": "again"}).json()["id"] != first
    assert trainings(house, anna) == 8


@pytest.mark.parametrize(
    ("knob", "param", "sentence"),
    [
        ({"path": RANK, "values": [4, 8, 9999]}, "knobs.0.values", "Run 3 (rank 9999)"),
        ({"path": "method.options.targets", "values": ["all-linear", ["no_such_layer"]]}, "knobs", "Run 2"),
        ({"path": "schedule.speed", "values": [1, 2]}, "knobs.0.values", "no setting of a training"),
        ({"path": "schedule.micro_batch_rows", "values": [4, 99]}, "knobs", "Run 2"),
        ({"path": "data.training_file", "values": ["file-x", "file-y"]}, "training_file", "No file"),
    ],
)
def test_one_run_that_cannot_be_stops_all_of_them(quick_house, knob, param, sentence):
    house, anna = quick_house, quick_house.person()
    house.base()
    job = {"model": "tiny", "training_file": house.upload(anna).json()["id"]}
    answer = start(house, anna, {"name": "tone", "job": job, "knobs": [knob]})
    assert answer.status_code in (400, 404), answer.text
    assert sentence in error_of(answer)["message"] and error_of(answer)["param"].startswith(param)
    assert trainings(house, anna) == 0


def test_the_spread_between_seeds_says_which_differences_are_chance(house, anna, wish):
    made = start(house, anna, wish).json()
    for held_out in (1.0, 1.2, 1.1, 1.4):
        work(house, held_out)
    seen = house.client.get(f"/api/v1/sweeps/{made['id']}", headers=anna.headers).json()
    assert seen["seed_spread"] == pytest.approx(0.3) and seen["compared_by"] == "held_out_loss"
    runs = seen["runs"]
    assert [run["held_out_loss"] for run in runs] == [1.0, 1.2, 1.1, 1.4]
    assert [run["behind_best"] for run in runs] == pytest.approx([0, 0, 0.15, 0.15])
    assert [run["is_inside_spread"] for run in runs] == [False, False, True, True]
    four, eight = seen["settings"]
    assert (four["values"], four["runs"], four["behind_best"]) == ({RANK: 4}, 2, 0) and not four["is_inside_spread"]
    assert [four["mean"], four["spread"], eight["mean"], eight["spread"]] == pytest.approx([1.1, 0.2, 1.25, 0.3])
    assert eight["values"] == {RANK: 8} and eight["is_inside_spread"]
    assert runs[0]["tokens_per_second"] == 400 and runs[0]["train_loss"] < 1.3


def test_without_seeds_no_difference_is_called_chance():
    spread, found = standings([("a", 1.0), ("b", 1.1), ("c", None), ("d", float("nan"))])
    assert spread is None
    assert [one and (round(one.behind, 6), one.is_inside) for one in found] == [(0, False), (0.1, False), None, None]
    spread, found = standings([("a", 1.0), ("a", 1.02), ("b", 1.5)])
    assert spread == pytest.approx(0.02) and found[2] is not None and not found[2].is_inside


def test_cancelling_takes_what_waits_and_leaves_what_is_at_work(house, anna, wish):
    made = start(house, anna, wish).json()
    running = work(house, 1.0, to=None)
    after = house.client.post(f"/api/v1/sweeps/{made['id']}/cancel", headers=anna.headers).json()
    assert after["counts"] == {"running": 1, "cancelled": 3}
    with house.deps.database.read() as session:
        assert TeamStore(session, anna.principal).job(running).cancel_requested_at is None


def test_a_sweep_is_its_teams_and_a_viewer_starts_none(house, anna, wish):
    viewer, stranger = house.person(Role.VIEWER), house.person(Role.OWNER, house.team("others"))
    assert start(house, viewer, wish).status_code == 403
    path = f"/api/v1/sweeps/{start(house, anna, wish).json()['id']}"
    assert house.client.get(path, headers=viewer.headers).status_code == 200
    for person, status in ((viewer, 403), (house.person(), 403), (stranger, 404), (house.person(Role.OWNER), 200)):
        assert house.client.post(f"{path}/cancel", headers=person.headers).status_code == status
    assert house.client.get(path, headers=stranger.headers).status_code == 404


def test_a_run_knows_its_sweep_and_a_deleted_one_leaves_it(house, anna, wish):
    made = start(house, anna, wish).json()
    house.client.post(f"/api/v1/sweeps/{made['id']}/cancel", headers=anna.headers)
    gone = made["runs"][0]["job"]
    with house.deps.database.read() as session:
        row = TeamStore(session, anna.principal).runs_named([gone])[0]
    assert (row.sweep_id, row.sweep_name) == (made["id"], "tone")
    assert house.client.delete(f"/api/v1/jobs/{gone}", headers=anna.headers).status_code == 200
    left = house.client.get(f"/api/v1/sweeps/{made['id']}", headers=anna.headers).json()["runs"]
    assert [run["number"] for run in left] == [2, 3, 4]
