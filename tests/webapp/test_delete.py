"""Deleting over HTTP, on both databases: who may, what is in the way, what stays, and where it is not seen any more."""

import pytest

from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Dataset, Job, Link, db_now
from models.domain.access import Role, System
from models.domain.ids import new_id
from models.domain.job import JobKind, JobState, Lane
from tests.house import error_of
from tests.people import make_member
from webapp.actions.delete_base import delete_base
from webapp.actions.ensure_bundled_base import ensure_bundled_base


def delete(house, person, path):
    return house.client.delete(f"/api/v1/{path}", headers=person.headers)


def get(house, person, path):
    return house.client.get(path, headers=person.headers)


def train(house, person, file, base="tiny", **more):
    body = {"training_file": file, "model": base, **more}
    return house.client.post("/v1/fine_tuning/jobs", json=body, headers=person.headers).json()["id"]


def uploaded(house, person, name="rows.jsonl"):
    file = house.upload(person, name).json()
    return file["id"], file["tuneroom"]["dataset"]


def end_all(house, state=JobState.FAILED):
    with house.deps.database.write() as session:
        store = SystemStore(session)
        while (claimed := store.claim(Lane.JOBS, "worker-test", 60)) is not None:
            store.settle(claimed.id, claimed.fence, state)


def link_to(house, adapter, expires=3600):
    with house.deps.database.write() as session:
        link = Link(
            id=new_id("link"), team_id=DEFAULT_TEAM, adapter_id=adapter, token_sha256=new_id("x"), max_requests=5,
            max_tokens=5, expires_at=db_now(expires),
        )  # fmt: skip
        session.add(link)
        return link.id


# who may


@pytest.mark.parametrize("kind", ["datasets", "jobs", "adapters", "merges"])
def test_its_maker_or_an_owner_deletes_it_and_another_team_learns_nothing(house, kind):
    maker, member = house.person(), house.person()
    viewer, stranger = house.person(Role.VIEWER), house.person(Role.OWNER, house.team("others"))
    job, adapter = house.trained(maker, house.base())
    ids = {"datasets": uploaded(house, maker)[1], "jobs": job, "adapters": adapter}
    ids["merges"] = house.merged(maker, adapter)[1]
    path, never_was = f"{kind}/{ids[kind]}", f"{kind}/{ids[kind][:-4]}0000"
    unknown = delete(house, stranger, never_was)
    refused = delete(house, stranger, path)
    assert refused.status_code == unknown.status_code == 404
    assert error_of(refused)["message"].replace(path[-4:], "0000") == error_of(unknown)["message"]
    for person in (viewer, member):
        assert delete(house, person, path).status_code == 403
    answered = delete(house, maker, path)
    assert (answered.status_code, answered.json()["deleted"]) == (200, True)
    assert delete(house, house.person(Role.OWNER), path).status_code == 404


def test_a_base_and_a_sample_are_deleted_by_an_administrator_of_the_instance_only(house):
    base = house.base()
    owner = house.person(Role.OWNER)
    assert delete(house, owner, f"bases/{base}").status_code == 403
    assert delete_base(house.deps, make_member(house.deps.database, Role.VIEWER, is_admin=True), base).id == base
    with house.deps.database.write() as session:
        sample = TeamStore(session, System(team=DEFAULT_TEAM)).add_file(
            filename="sample.jsonl", purpose="fine-tune", scope="shared", sha256="a" * 64, size=1, shared=True
        )
    assert delete(house, owner, f"datasets/{sample.dataset_id}").status_code == 403


# what is in the way


def test_a_dataset_that_a_waiting_training_needs_is_refused_by_the_trainings_name(house):
    anna = house.person()
    house.base()
    file, dataset = uploaded(house, anna)
    other, _ = uploaded(house, anna, "other.jsonl")
    job = train(house, anna, other, validation_file=file)
    for path in (f"/api/v1/datasets/{dataset}", f"/v1/files/{file}"):
        refused = house.client.delete(path, headers=anna.headers)
        assert refused.status_code == 409
        assert job in error_of(refused)["message"] and "Cancel" in error_of(refused)["message"]
    assert get(house, anna, f"/v1/files/{file}").status_code == 200


def test_a_file_that_a_waiting_training_mixes_in_is_refused_too(house):
    anna = house.person()
    house.base()
    first, mixed = uploaded(house, anna)[0], uploaded(house, anna, "mixed.jsonl")[0]
    job = train(house, anna, first, tuneroom={"data": {"rows": {"mixed": [{"file": mixed}]}}})
    refused = house.client.delete(f"/v1/files/{mixed}", headers=anna.headers)
    assert refused.status_code == 409 and job in error_of(refused)["message"]
    end_all(house)
    assert house.client.delete(f"/v1/files/{mixed}", headers=anna.headers).status_code == 200


def test_a_dataset_of_ended_trainings_goes_and_says_how_many_stay(house):
    anna = house.person()
    house.base()
    file, dataset = uploaded(house, anna)
    jobs = [train(house, anna, file, seed=seed) for seed in (1, 2)]
    end_all(house)
    assert delete(house, anna, f"datasets/{dataset}").json() == {
        "id": dataset, "object": "dataset", "deleted": True,
        "note": "The dataset was used by 2 runs, which stay.",
    }  # fmt: skip
    assert get(house, anna, f"/v1/files/{file}").status_code == 404
    assert get(house, anna, "/v1/files").json()["data"] == []
    assert get(house, anna, f"/v1/fine_tuning/jobs/{jobs[0]}").json()["training_file"] == file
    again = {"training_file": file, "model": "tiny"}
    assert house.client.post("/v1/fine_tuning/jobs", json=again, headers=anna.headers).status_code == 404


def test_another_teams_training_on_a_sample_is_counted_and_not_named(house):
    anna, admin = house.person(Role.OWNER, house.team("others")), make_member(house.deps.database, is_admin=True)
    house.base()
    with house.deps.database.write() as session:
        sample = TeamStore(session, System(team=DEFAULT_TEAM)).add_file(
            filename="sample.jsonl", purpose="fine-tune", scope="shared", sha256="a" * 64, size=1, shared=True
        )
    job = train(house, anna, sample.id)
    with house.deps.database.write() as session, pytest.raises(Exception, match="1 of other teams") as refused:
        TeamStore(session, admin).delete_dataset(sample.dataset_id)
    assert job not in str(refused.value)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_a_job_that_has_not_ended_is_to_be_cancelled_first(house, state):
    anna = house.person()
    house.base()
    job = train(house, anna, uploaded(house, anna)[0])
    if state is JobState.RUNNING:
        with house.deps.database.write() as session:
            claimed = SystemStore(session).claim(Lane.JOBS, "worker-test", 60)
            assert claimed is not None
    refused = delete(house, anna, f"jobs/{job}")
    assert refused.status_code == 409
    assert f"is {state}" in error_of(refused)["message"] and "Cancel it first" in error_of(refused)["message"]
    assert get(house, anna, f"/api/v1/jobs/{job}").json()["state"] == state


def test_an_adapter_that_is_being_merged_waits_for_the_merge(house):
    anna = house.person()
    _, adapter = house.trained(anna, house.base())
    merging = house.client.post("/api/v1/merges", json={"adapter": adapter}, headers=anna.headers).json()["id"]
    refused = delete(house, anna, f"adapters/{adapter}")
    assert refused.status_code == 409 and merging in error_of(refused)["message"]
    end_all(house)
    assert delete(house, anna, f"adapters/{adapter}").status_code == 200


def test_a_base_that_adapters_or_waiting_trainings_need_is_refused_by_their_names(house):
    anna, bert = house.person(), house.person(team=house.team("others"))
    admin = make_member(house.deps.database, is_admin=True)
    base = house.base()
    _, adapter = house.trained(anna, base)
    house.trained(bert, base)
    name = get(house, anna, f"/api/v1/adapters/{adapter}").json()["model"]
    with pytest.raises(Exception, match="Delete what was trained on it first") as refused:
        delete_base(house.deps, admin, base)
    assert name in str(refused.value) and "1 of other teams" in str(refused.value)
    free = house.base("free")
    job = train(house, anna, uploaded(house, anna)[0], "free")
    with pytest.raises(Exception, match=f"free is used by {job}"):
        delete_base(house.deps, admin, free)
    end_all(house)
    assert delete_base(house.deps, admin, free).note == "The base model was used by 1 run, which stays."


# what stays and what is not seen any more


def test_a_deleted_adapter_is_nowhere_and_its_links_end_while_its_merge_stays(house):
    anna = house.person()
    job, adapter = house.trained(anna, house.base())
    _, merge = house.merged(anna, adapter)
    name = get(house, anna, f"/api/v1/adapters/{adapter}").json()["model"]
    link, _ = link_to(house, adapter), link_to(house, adapter, expires=-5)
    note = delete(house, anna, f"adapters/{adapter}").json()["note"]
    assert note == "1 merge made from it stays. 1 link to it ends with it."
    with house.deps.database.read() as session:
        assert session.get_one(Link, link).revoked_at is not None
    for path in (f"/api/v1/adapters/{adapter}", f"/api/v1/adapters/{adapter}/download", f"/v1/models/{name}"):
        assert get(house, anna, path).status_code == 404
    ids = [model["id"] for model in get(house, anna, "/v1/models").json()["data"]]
    assert name not in ids and any(model.startswith("merge:") for model in ids)
    chat = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
    assert house.client.post("/v1/chat/completions", json=chat, headers=anna.headers).status_code == 404
    assert house.client.post("/api/v1/merges", json={"adapter": name}, headers=anna.headers).status_code == 404
    assert get(house, anna, f"/api/v1/jobs/{job}").json()["adapter"] is None
    assert get(house, anna, f"/api/v1/merges/{merge}").status_code == 200


def test_the_official_clients_way_of_deleting_a_model_deletes_an_adapter_or_a_merge(quick_house):
    house, anna = quick_house, quick_house.person()
    _, adapter = house.trained(anna, house.base())
    _, merge = house.merged(anna, adapter)
    for path in (f"/api/v1/adapters/{adapter}", f"/api/v1/merges/{merge}"):
        name = get(house, anna, path).json()["model"]
        answer = house.client.delete(f"/v1/models/{name}", headers=anna.headers)
        assert answer.json() == {"id": name, "object": "model", "deleted": True}
        assert get(house, anna, path).status_code == 404
    assert house.client.delete("/v1/models/tiny", headers=anna.headers).status_code == 404


def test_a_deleted_run_leaves_the_history_and_its_adapter_stays(house):
    anna = house.person()
    job, adapter = house.trained(anna, house.base())
    assert delete(house, anna, f"jobs/{job}").json()["note"] == "1 adapter made from it stays."
    for path in (f"/api/v1/jobs/{job}", f"/api/v1/jobs/{job}/events", f"/v1/fine_tuning/jobs/{job}"):
        assert get(house, anna, path).status_code == 404
    assert job not in [row["id"] for row in get(house, anna, "/api/v1/jobs").json()["data"]]
    assert get(house, anna, f"/api/v1/adapters/{adapter}").json()["job"] == job


def test_the_same_training_asked_again_after_its_run_was_deleted_is_a_new_run(house):
    anna = house.person()
    house.base()
    file, _ = uploaded(house, anna)
    first = train(house, anna, file)
    end_all(house, JobState.SUCCEEDED)
    assert delete(house, anna, f"jobs/{first}").status_code == 200
    assert train(house, anna, file) != first


def test_a_deleted_bases_name_is_free_and_start_up_does_not_bring_it_back(house):
    name = "smollm2-135m-instruct"
    base = house.base(name)
    delete_base(house.deps, make_member(house.deps.database, is_admin=True), base)
    anna = house.person()
    assert get(house, anna, f"/v1/models/{name}").status_code == 404
    assert get(house, anna, "/api/v1/bases").json()["data"] == []
    assert ensure_bundled_base(house.deps) is None
    assert house.base(name) != base
    assert get(house, anna, f"/v1/models/{name}").status_code == 200


def test_the_last_version_takes_its_dataset_along(house):
    anna = house.person()
    file, dataset = uploaded(house, anna)
    assert house.client.delete(f"/v1/files/{file}", headers=anna.headers).json()["deleted"] is True
    with house.deps.database.read() as session:
        assert session.get_one(Dataset, dataset).deleted_at is not None
    assert delete(house, anna, f"datasets/{dataset}").status_code == 404


def test_a_deleted_job_is_marked_and_not_erased(house):
    anna = house.person()
    job, _ = house.trained(anna, house.base())
    delete(house, anna, f"jobs/{job}")
    with house.deps.database.read() as session:
        row = session.get_one(Job, job)
        assert (row.kind, row.state, row.deleted_at is not None) == (JobKind.TRAIN, JobState.SUCCEEDED, True)
