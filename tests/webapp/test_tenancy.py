"""Who may do what to which object over HTTP (the beginnings of S4): one table, every object of a finished team."""

from dataclasses import dataclass

import pytest

from models.domain.access import Role
from tests.house import error_of


@dataclass(frozen=True)
class Act:
    """A request on one object; `{}` is its id. `own` is who of the team may: maker, member, viewer, owner."""

    name: str
    kind: str
    method: str
    path: str
    allowed: str
    body: dict | None = None


ACTS = [
    Act("read a file", "file", "GET", "/v1/files/{}", "maker member viewer owner"),
    Act("read its bytes", "file", "GET", "/v1/files/{}/content", "maker member viewer owner"),
    Act("train on it", "file", "POST", "/v1/fine_tuning/jobs", "maker member owner", {"training_file": "{}"}),
    Act("delete it", "file", "DELETE", "/v1/files/{}", "maker owner"),
    Act("read a training", "job", "GET", "/v1/fine_tuning/jobs/{}", "maker member viewer owner"),
    Act("read its events", "job", "GET", "/v1/fine_tuning/jobs/{}/events", "maker member viewer owner"),
    Act("read its checkpoints", "job", "GET", "/v1/fine_tuning/jobs/{}/checkpoints", "maker member viewer owner"),
    Act("cancel it", "job", "POST", "/v1/fine_tuning/jobs/{}/cancel", "maker owner"),
    Act("read a job", "job", "GET", "/api/v1/jobs/{}", "maker member viewer owner"),
    Act("read a job's events", "job", "GET", "/api/v1/jobs/{}/events", "maker member viewer owner"),
    Act("read its metrics", "job", "GET", "/api/v1/jobs/{}/metrics", "maker member viewer owner"),
    Act("read its samples", "job", "GET", "/api/v1/jobs/{}/samples", "maker member viewer owner"),
    Act("cancel a job", "job", "POST", "/api/v1/jobs/{}/cancel", "maker owner"),
    Act("read a sweep", "sweep", "GET", "/api/v1/sweeps/{}", "maker member viewer owner"),
    Act("cancel a sweep", "sweep", "POST", "/api/v1/sweeps/{}/cancel", "maker owner"),
    Act("read a preset", "preset", "GET", "/api/v1/presets/{}", "maker member viewer owner"),
    Act("take its YAML", "preset", "GET", "/api/v1/presets/{}/preset.yaml", "maker member viewer owner"),
    Act("rename a preset", "preset", "PATCH", "/api/v1/presets/{}", "maker owner", {"name": "other"}),
    Act("delete a preset", "preset", "DELETE", "/api/v1/presets/{}", "maker owner"),
    Act("read an adapter", "adapter", "GET", "/api/v1/adapters/{}", "maker member viewer owner"),
    Act("download it", "adapter", "GET", "/api/v1/adapters/{}/download", "maker member viewer owner"),
    Act("see it as a model", "adapter", "GET", "/v1/models/{}", "maker member viewer owner"),
    Act("merge it", "adapter", "POST", "/api/v1/merges", "maker member owner", {"adapter": "{}"}),
    Act("chat with it", "adapter", "POST", "/v1/chat/completions", "maker member viewer owner", {"model": "{}"}),
    Act("read a merge", "merge", "GET", "/api/v1/merges/{}", "maker member viewer owner"),
    Act("download a merge", "merge", "GET", "/api/v1/merges/{}/download", "maker member viewer owner"),
    Act("see a merge as a model", "merge", "GET", "/v1/models/{}", "maker member viewer owner"),
    Act("chat with a merge", "merge", "POST", "/v1/chat/completions", "maker member viewer owner", {"model": "{}"}),
]
ACCEPTED = {200, 201, 409, 503}  # 409: the job has ended; 503: no broker to chat through


@pytest.fixture
def team(quick_house):
    return finished_team(quick_house)


def finished_team(house):
    """A team's people, one object of each kind, and somebody of another team."""
    people = {"maker": house.person(), "member": house.person()}
    people |= {"viewer": house.person(Role.VIEWER), "owner": house.person(Role.OWNER)}
    people["stranger"] = house.person(Role.OWNER, house.team("others"))
    job, adapter = house.trained(people["maker"], house.base())
    merge = house.merged(people["maker"], adapter)[1]
    file = house.upload(people["maker"]).json()["id"]
    knobs = [{"path": "schedule.seed", "values": [1, 2]}]
    wish = {"name": "seeds", "job": {"model": "tiny", "training_file": file}, "knobs": knobs}
    sweep = house.client.post("/api/v1/sweeps", json=wish, headers=people["maker"].headers).json()["id"]
    kept = {"name": "ours", "is_shared": True}
    preset = house.client.post("/api/v1/presets", json=kept, headers=people["maker"].headers).json()["id"]
    return people, {"preset": preset, "file": file, "job": job, "adapter": adapter, "merge": merge, "sweep": sweep}


def request(house, act: Act, object_id: str, person):
    body = {name: value.format(object_id) for name, value in (act.body or {}).items()}
    if "training_file" in body:
        body |= {"model": "tiny"}
    if "chat" in act.path:
        body |= {"messages": [{"role": "user", "content": "Hi"}]}
    return house.client.request(
        act.method, act.path.format(object_id), headers=person.headers, json=body if act.body else None
    )  # fmt: skip


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_the_table_holds_for_every_role_and_a_stranger_never_learns_that_it_exists(quick_house, team, act):
    people, objects = team
    for who in ("stranger", "viewer", "member", "maker", "owner"):
        response = request(quick_house, act, objects[act.kind], people[who])
        if who == "stranger":
            never_was = objects[act.kind][:-4] + "0000"
            other = request(quick_house, act, never_was, people[who])
            assert response.status_code == other.status_code == 404
            assert error_of(response)["message"].replace(objects[act.kind], never_was) == error_of(other)["message"]
        elif who in act.allowed.split():
            assert response.status_code in ACCEPTED, (who, response.text)
            if act.method == "DELETE":
                return  # the rest would find nothing
        else:
            assert response.status_code == 403, (who, response.text)


def test_a_stranger_lists_nothing_of_the_team_but_the_base(house):
    stranger = finished_team(house)[0]["stranger"]
    for path in ("/v1/files", "/v1/fine_tuning/jobs", "/api/v1/adapters", "/api/v1/merges", "/api/v1/presets"):
        assert house.client.get(path, headers=stranger.headers).json()["data"] == []
    models = house.client.get("/v1/models", headers=stranger.headers).json()["data"]
    assert [model["id"] for model in models] == ["tiny"]
    jobs = house.client.get("/api/v1/jobs", headers=stranger.headers).json()["data"]
    assert {job["is_shared"] for job in jobs} == {True}


def test_no_key_imports_a_base_model(quick_house):
    response = quick_house.client.post(
        "/api/v1/bases", json={"name": "x", "reference": "org/x"}, headers=quick_house.person(Role.OWNER).headers
    )  # fmt: skip
    assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")
