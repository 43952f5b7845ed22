"""S4: everybody x every object x every address that names one, against the one table in `access.can`.

A route that takes an id and stands in no line below fails the first test.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import update

from models.db.store.system import DEFAULT_TEAM
from models.db.tables import User
from models.domain.access import Key, Kind, Member, Object, Role, Verb, can
from models.domain.ids import LinkId
from tests.furnished import furnish
from tests.house import House, Person
from webapp.actions.invitations import list_invitations
from webapp.actions.links import list_links
from webapp.actions.my_keys import my_keys
from webapp.actions.sessions import open_session
from webapp.actions.trackers import add_tracker
from webapp.routes.cookie import NAME

OPEN_WITH_A_TOKEN = ("/s/", "/setup/", "/invite/", "/ui/")  # no id in them: the token or the name is the right itself


@dataclass(frozen=True, kw_only=True)
class Act:
    """A request on one object. `owner_only`: what is a person's own is absent for everybody else."""

    method: str
    path: str
    verb: Verb
    kind: Kind
    body: dict[str, Any] | None = None
    own: bool = False
    by_browser: bool = False  # a key never manages people, keys or sign-ins
    query: dict[str, str] = field(default_factory=dict)


def act(line: str, verb: Verb, kind: Kind, **more: Any) -> Act:
    method, path = line.split(" ")
    return Act(method=method, path=path, verb=verb, kind=kind, **more)


TURN = {"panes": [{"number": 0, "model": "smollm2-135m-instruct"}], "prompt": "Hi"}
COUNT = {"base": "smollm2-135m-instruct"}
ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
READ, USE, CHANGE, DELETE = Verb.READ, Verb.USE, Verb.CHANGE, Verb.DELETE
ACTS = [
    act("GET /v1/files/{file_id}", READ, Kind.DATASET),
    act("GET /v1/files/{file_id}/content", READ, Kind.DATASET),
    act("GET /api/v1/files/{file_id}/reports", READ, Kind.DATASET),
    act("GET /api/v1/files/{file_id}/messages.jsonl", READ, Kind.DATASET),
    act("GET /api/v1/files/{file_id}/problems.csv", READ, Kind.DATASET),
    act("POST /api/v1/files/{file_id}/columns", READ, Kind.DATASET),
    act("POST /api/v1/files/{file_id}/preview", READ, Kind.DATASET, body=COUNT | {"max_length": 64}),
    act("POST /api/v1/files/{file_id}/compare", READ, Kind.DATASET, body={"with": "{file_id}"}),
    act("POST /api/v1/files/{file_id}/gate", USE, Kind.DATASET),
    act("POST /api/v1/files/{file_id}/tokens", USE, Kind.DATASET, body=COUNT),
    act("POST /api/v1/files/{file_id}/edits", CHANGE, Kind.DATASET, body={"edits": [{"row": 1, "example": None}]}),
    act("POST /api/v1/files/{file_id}/reading", CHANGE, Kind.DATASET, body={"format": "messages"}),
    act("DELETE /v1/files/{file_id}", DELETE, Kind.DATASET),
    act("POST /api/v1/datasets/{dataset_id}/rows", CHANGE, Kind.DATASET, body={"rows": [ROW]}),
    act("GET /v1/fine_tuning/jobs/{job_id}", READ, Kind.JOB),
    act("GET /v1/fine_tuning/jobs/{job_id}/events", READ, Kind.JOB),
    act("GET /v1/fine_tuning/jobs/{job_id}/checkpoints", READ, Kind.JOB),
    act("POST /v1/fine_tuning/jobs/{job_id}/cancel", CHANGE, Kind.JOB),
    act("GET /v1/models/{model:path}", READ, Kind.ADAPTER),
    act("GET /api/v1/jobs/{job_id}", READ, Kind.JOB),
    act("GET /api/v1/jobs/{job_id}/events", READ, Kind.JOB),
    act("GET /api/v1/jobs/{job_id}/log", READ, Kind.JOB),
    act("GET /api/v1/jobs/{job_id}/spec.yaml", READ, Kind.JOB),
    act("GET /api/v1/jobs/{job_id}/metrics", READ, Kind.JOB),
    act("GET /api/v1/jobs/{job_id}/tensorboard", READ, Kind.JOB),
    act("GET /api/v1/jobs/{job_id}/samples", READ, Kind.JOB),
    act("POST /api/v1/jobs/{job_id}/like-rows", READ, Kind.JOB, body={"text": "Who?"}),
    act("POST /api/v1/jobs/{job_id}/cancel", CHANGE, Kind.JOB),
    act("GET /api/v1/sweeps/{sweep}", READ, Kind.JOB),
    act("POST /api/v1/sweeps/{sweep}/cancel", CHANGE, Kind.JOB),
    act("GET /api/v1/adapters/{adapter}", READ, Kind.ADAPTER),
    act("GET /api/v1/adapters/{adapter}/download", READ, Kind.ADAPTER),
    act("GET /api/v1/merges/{merge}", READ, Kind.MERGE),
    act("GET /api/v1/merges/{merge}/download", READ, Kind.MERGE),
    act("GET /api/v1/datasets/{dataset_id}", READ, Kind.DATASET),
    act("GET /api/v1/datasets/{dataset_id}/rows", READ, Kind.DATASET),
    act("GET /api/v1/conversations/{conversation}", READ, Kind.CONVERSATION, own=True),
    act("PATCH /api/v1/conversations/{conversation}", CHANGE, Kind.CONVERSATION, own=True, body={"title": "Other"}),
    act("POST /api/v1/conversations/{conversation}/turns", CHANGE, Kind.CONVERSATION, own=True, body=TURN),
    act("DELETE /api/v1/conversations/{conversation}", DELETE, Kind.CONVERSATION, own=True),
    act("GET /api/v1/presets/{preset}", READ, Kind.PRESET),
    act("GET /api/v1/presets/{preset}/preset.yaml", READ, Kind.PRESET),
    act("PATCH /api/v1/presets/{preset}", CHANGE, Kind.PRESET, body={"name": "Other"}),
    act("DELETE /api/v1/presets/{preset}", DELETE, Kind.PRESET),
    act("GET /api/v1/links/{link}/uses", READ, Kind.LINK),
    act("DELETE /api/v1/links/{link}", DELETE, Kind.LINK),
    act("POST /api/v1/trackers/{tracker}/try", CHANGE, Kind.SECRET),
    act("PATCH /api/v1/trackers/{tracker}", CHANGE, Kind.SECRET, body={"is_on": False}),
    act("DELETE /api/v1/trackers/{tracker}", DELETE, Kind.SECRET),
    act("DELETE /api/v1/keys/{key}", DELETE, Kind.KEY, by_browser=True),
    act("DELETE /api/v1/sign-ins/{sign_in}", DELETE, Kind.KEY, own=True, by_browser=True),
    act("PATCH /api/v1/people/{person}", CHANGE, Kind.PERSON, body={"role": "member"}, by_browser=True),
    act("DELETE /api/v1/people/{person}", DELETE, Kind.PERSON, by_browser=True),
    act("DELETE /api/v1/invitations/{invitation}", DELETE, Kind.PERSON, by_browser=True),
    act("DELETE /api/v1/merges/{object_id}", DELETE, Kind.MERGE),
    act("DELETE /api/v1/adapters/{object_id}", DELETE, Kind.ADAPTER),
    act("DELETE /api/v1/jobs/{object_id}", DELETE, Kind.JOB),
    act("DELETE /api/v1/datasets/{object_id}", DELETE, Kind.DATASET),
    act("DELETE /v1/models/{model:path}", DELETE, Kind.ADAPTER),
    act("PATCH /api/v1/bases/{base_id}", CHANGE, Kind.BASE, body={"description": "Small"}),
    act("DELETE /api/v1/bases/{object_id}", DELETE, Kind.BASE),
]


def routes_with_ids(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route with a parameter, however deep its router hangs."""
    for route in app.routes:
        if hasattr(route, "original_router"):
            yield from routes_with_ids(route.original_router, prefix + route.include_context.prefix)
        elif getattr(route, "methods", None) and "{" in route.path:
            yield from ((method, prefix + route.path) for method in route.methods if method != "HEAD")


def test_every_address_with_an_id_has_its_line(quick_house):
    found = {(method, path) for method, path in routes_with_ids(quick_house.client.app)}
    found = {(method, path) for method, path in found if not path.startswith(OPEN_WITH_A_TOKEN)}
    assert found == {(act.method, act.path) for act in ACTS}
    assert len(found) > 30


@dataclass(frozen=True, kw_only=True)
class Team:
    """`objects` maps a parameter's name to (id, who made it); all of them are of one team."""

    house: House
    people: dict[str, Member | Key | None]
    headers: dict[str, dict[str, str]]
    objects: dict[str, tuple[str, str | None]]


@pytest.fixture
def team(quick_house):
    made = furnish(quick_house)
    maker = made.owner.principal  # the furnished owner made the run; the others are of the people below
    headers, people = {}, {}

    def come(name: str, person: Person, role: Role, *, is_admin: bool = False) -> None:
        who = person.principal
        token = open_session(quick_house.deps.database, who.user, who.team, address="", agent="")
        headers[name] = {"Cookie": f"{NAME}={token}", "Origin": "http://testserver"}
        people[name] = Member(user=who.user, team=who.team, role=role, is_admin=is_admin)

    come("member", quick_house.person(Role.MEMBER), Role.MEMBER)
    come("viewer", quick_house.person(Role.VIEWER), Role.VIEWER)
    others = quick_house.team("others")
    come("stranger", quick_house.person(Role.OWNER, others), Role.OWNER)
    admin = quick_house.person(Role.OWNER, others)
    with quick_house.deps.database.write() as session:
        session.execute(update(User).where(User.id == admin.principal.user).values(is_admin=True))
    come("administrator elsewhere", admin, Role.OWNER, is_admin=True)
    viewers_key = quick_house.person(Role.VIEWER)
    headers["key of a viewer"], people["key of a viewer"] = viewers_key.headers, viewers_key.principal
    headers["holder of a link"] = {"Authorization": f"Bearer {made.link_token}"}
    people["holder of a link"] = None  # the link opens its own page and nothing with an id
    headers["nobody"], people["nobody"] = {}, None
    come("creator", made.owner, Role.OWNER, is_admin=True)
    member = people["creator"]
    assert isinstance(member, Member)
    deps = quick_house.deps
    link = list_links(deps, member)[0]
    victim = quick_house.person(Role.MEMBER).principal
    sign_in = quick_house.client.get("/api/v1/sign-ins", headers=headers["creator"]).json()["data"][-1]["id"]
    bases = {model["id"] for model in quick_house.client.get("/v1/models", headers=headers["member"]).json()["data"]}
    adapters = quick_house.client.get("/api/v1/adapters", headers=headers["member"]).json()["data"]
    other = next(adapter["id"] for adapter in adapters if adapter["id"] != made.adapter)
    base = sorted(name for name in bases if ":" not in name)[0]
    objects = {
        "base_id": (base, None),
        "job_id": (made.run, maker.user), "adapter": (made.adapter, None), "merge": (made.merge, None),
        "model:path": (other, None), "dataset_id": (made.dataset, None),
        "file_id": (made.texts["release-notes.jsonl"], maker.user), "conversation": (made.conversation, maker.user),
        "link": (LinkId(link.id), None), "key": (my_keys(deps, member)[0].id, maker.user),
        "sign_in": (sign_in, maker.user), "person": (victim.user, None),
        "sweep": (made.sweep, maker.user),
        "tracker": (add_tracker(deps, member, "tensorboard", {}, "").id, maker.user),
        "preset": (made.preset, maker.user),
        "invitation": (list_invitations(deps, member)[0].id, None),
    }  # fmt: skip
    return Team(house=quick_house, people=people, headers=headers, objects=objects)


OF_OTHERS = ("stranger", "administrator elsewhere")
KINDS = {
    Kind.JOB: "job_id",
    Kind.ADAPTER: "adapter",
    Kind.MERGE: "merge",
    Kind.DATASET: "dataset_id",
    Kind.BASE: "base_id",
}


def test_the_table_holds_for_everybody_at_every_address(team):
    """Those who may not come first, so that nothing is gone when they try; then the one who may."""
    tried = 0
    for act in ACTS:
        name = act.path.split("{")[1].split("}")[0]
        object_id, owner = team.objects[KINDS[act.kind] if name == "object_id" else name]
        team_id = None if act.kind is Kind.BASE else DEFAULT_TEAM
        thing = Object(kind=act.kind, team=team_id, owner=owner, id=object_id)  # type: ignore[arg-type]
        for who, principal in team.people.items():
            if (who, act.verb, act.kind) == ("administrator elsewhere", DELETE, Kind.BASE):
                continue  # they may, and then it is gone
            may = principal is not None and can(principal, act.verb, thing)
            if act.own or (act.by_browser and isinstance(principal, Key)):
                may = may and isinstance(principal, Member) and (not act.own or principal.user == owner)
            answer = _ask(team, act, object_id, who)
            tried += 1
            line = (who, act.method, act.path, answer.status_code, answer.text[:200])
            if principal is None:
                assert answer.status_code == 401, line
            elif who in OF_OTHERS and team_id is not None:
                never = _ask(team, act, object_id[:-4] + "0000", who)
                assert answer.status_code == never.status_code == 404, line
            elif may:
                assert answer.status_code not in (401, 403, 404, 422, 500), line
            else:
                assert answer.status_code in (403, 404), line
    assert tried == len(ACTS) * len(team.people) - 1


def _ask(team: Team, act: Act, object_id: str, who: str) -> Any:
    path = act.path.split("{")[0] + object_id + act.path.split("}")[1]
    body = act.body and json.loads(json.dumps(act.body).replace("{file_id}", object_id))
    return team.house.client.request(act.method, path, json=body, headers=team.headers[who], follow_redirects=False)
