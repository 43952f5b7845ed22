"""Base models as administrators add and describe them, and as everybody sees them, on both databases."""

from dataclasses import dataclass

import pytest

from models.db.store.system import SystemStore
from models.domain.access import Member, Role
from models.domain.errors import Invalid
from models.domain.job import JobState, Lane
from models.domain.progress import Progressed
from tests.house import error_of
from tests.people import make_member
from webapp.actions.add_base import add_base, wish_for_base
from webapp.actions.sessions import open_session
from webapp.actions.show_bases import show_bases
from webapp.routes.cookie import NAME


@dataclass(frozen=True)
class SignedIn:
    """A person in a browser: cookie and Origin, as pages send them."""

    principal: Member
    headers: dict[str, str]


def signed_in(house, role: Role = Role.MEMBER, *, is_admin: bool = False) -> SignedIn:
    who = make_member(house.deps.database, role, is_admin=is_admin)
    token = open_session(house.deps.database, who.user, who.team, address="127.0.0.1", agent="test")
    return SignedIn(who, {"Cookie": f"{NAME}={token}", "Origin": "http://testserver"})


def add(house, person, **body):
    return house.client.post("/api/v1/bases", json=body, headers=person.headers)


@pytest.mark.parametrize(
    ("reference", "source", "name"),
    [
        ("org/Tiny-Model@main", "hub", "tiny-model"),
        ("/srv/bases/My Model", "local", "my-model"),
        ("/srv/bases/model.Q4_1.gguf", "gguf", "model.q4_1"),
    ],
)
def test_an_administrator_adds_by_hub_id_folder_or_file(quick_house, reference, source, name):
    admin = signed_in(quick_house, is_admin=True)
    job = add(quick_house, admin, reference=reference)
    assert job.status_code == 201
    spec = job.json()["spec"]
    assert (job.json()["kind"], spec["source"], spec["name"]) == ("add_base", source, name)
    assert "/srv" not in str(spec)  # where it lies on the machine is nobody's business


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"reference": "../etc/passwd"}, "reference"),
        ({"reference": "/srv/../etc"}, "reference"),
        ({"reference": "only-one-word"}, "reference"),
        ({"reference": "org/x", "name": "Not This"}, "name"),
        ({"reference": "org/x", "description": "x" * 401}, "description"),
        ({}, "reference"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(quick_house, body, param):
    response = add(quick_house, signed_in(quick_house, is_admin=True), **body)
    assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert show_bases(quick_house.deps, signed_in(quick_house).principal).imports == ()


def test_only_administrators_add_describe_and_delete(house):
    admin, base = signed_in(house, is_admin=True), house.base()
    for person in (house.person(Role.OWNER), signed_in(house, Role.OWNER)):
        for response in (
            add(house, person, reference="org/x"),
            house.client.patch(f"/api/v1/bases/{base}", json={"description": "mine"}, headers=person.headers),
            house.client.delete(f"/api/v1/bases/{base}", headers=person.headers),
        ):
            assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")
    changed = house.client.patch(f"/api/v1/bases/{base}", json={"description": " Small. "}, headers=admin.headers)
    assert changed.json()["description"] == "Small."
    assert show_bases(house.deps, signed_in(house).principal).bases[0].row.description == "Small."


def test_the_page_knows_who_stands_on_a_base_and_whom_to_ask(house):
    anna, eve = house.person(), house.person(Role.OWNER, house.team("others"))
    base = house.base()
    house.trained(anna, base)
    house.trained(eve, base)
    page = show_bases(house.deps, anna.principal)
    assert [(seen.row.name, seen.adapters, seen.reference) for seen in page.bases] == [("tiny", 1, "tiny.gguf")]
    assert (page.may_manage, page.administrators) == (False, ())
    admin = signed_in(house, is_admin=True)
    email = house.client.get("/api/v1/me", headers=admin.headers).json()["email"]
    assert show_bases(house.deps, anna.principal).administrators == (email,)
    assert show_bases(house.deps, eve.principal).administrators == ()  # another team's people are not named
    assert show_bases(house.deps, admin.principal).may_manage


def test_an_import_is_seen_on_its_way_and_for_a_while_after_it_failed(house):
    admin, anna = signed_in(house, is_admin=True), house.person()
    add_base(house.deps, admin.principal, wish_for_base("org/big"))

    def seen():
        page = show_bases(house.deps, anna.principal)
        return page.is_moving, [(each.name, each.share, each.sentence) for each in page.imports]

    assert seen() == (True, [("big", None, None)])
    with house.deps.database.write() as session:
        store = SystemStore(session)
        job = store.claim(Lane.LIGHT, "worker-test", 60)
        store.record(job.id, job.fence, [Progressed(done=25, total=100, unit="bytes")])
    assert seen() == (True, [("big", 0.25, None)])
    with house.deps.database.write() as session:
        SystemStore(session).settle(job.id, job.fence, JobState.FAILED, error=Invalid("only pickles were found."))
    assert seen() == (False, [("big", None, "only pickles were found.")])
    house.base("big")
    assert seen() == (False, [])
