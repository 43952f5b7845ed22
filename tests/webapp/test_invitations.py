"""Invitations: one-time links into a team with a role, for new people and for those who have an account."""

import re

import pytest

from models.db.store.system import DEFAULT_TEAM
from models.db.tables import Invitation, Membership, User, db_now
from models.domain.access import Role
from tests.entering import HERE, browser_of, browsing, enter, me, person_with_password, send
from tests.house import error_of
from webapp.actions.prove_password import LIMITS, account_of, count_try

PASSWORD = "correct horse battery"
OWNER, ANNA, BERT = "owner@example.org", "anna@example.org", "bert@example.org"


@pytest.fixture
def owner(house):
    return browsing(house, OWNER, Role.OWNER)


@pytest.fixture
def quick_owner(quick_house):
    return browsing(quick_house, OWNER, Role.OWNER)


def invited(owner, role: str = "member", email: str = "") -> str:
    """The path of a new invitation."""
    answer = send(owner, "POST", "/api/v1/invitations", {"role": role, "email": email})
    assert answer.status_code == 201, answer.text
    found = re.fullmatch(r"http://testserver(/invite/[\w-]{43})", answer.json()["url"])
    assert found is not None
    return found[1]


def join(house, path: str, email: str, password: str, browser=None):
    browser = browser or browser_of(house, "10.0.0.2")
    form = {"email": email, "password": password}
    return browser.post(path, data=form, headers=HERE, follow_redirects=False), browser


def test_a_new_person_chooses_a_password_joins_with_the_role_and_is_signed_in(house, owner):
    path = invited(owner, "viewer")
    page = browser_of(house).get(path).text
    assert "Join the team default" in page and OWNER in page and "as viewer" in page
    answer, browser = join(house, path, " Anna@Example.org", PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (me(browser)["email"], me(browser)["role"]) == (ANNA, "viewer")
    assert enter(browser_of(house, "10.0.0.3"), ANNA, PASSWORD).status_code == 303


def test_wrong_used_revoked_and_expired_invitations_are_one_and_the_same_404(house, owner):
    used, revoked, expired = invited(owner), invited(owner), invited(owner)
    ids = [one["id"] for one in owner.get("/api/v1/invitations").json()["data"]]  # newest first
    with house.deps.database.write() as session:
        session.get_one(Invitation, ids[0]).expires_at = db_now(-1)
    assert send(owner, "DELETE", f"/api/v1/invitations/{ids[1]}").status_code == 200
    assert join(house, used, ANNA, PASSWORD)[0].status_code == 303
    wrong = (used, revoked, expired, "/invite/" + "A" * 43, "/invite/x")
    answers = [browser_of(house).get(path) for path in wrong]
    answers += [join(house, path, BERT, PASSWORD)[0] for path in wrong]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert owner.get("/api/v1/invitations").json()["data"] == []
    with house.deps.database.read() as session:
        assert session.query(User).filter(User.email == BERT).count() == 0


def test_an_invitation_for_one_address_is_for_no_other(house, owner):
    path = invited(owner, "member", "Anna@example.org")
    assert f'value="{ANNA}"' in browser_of(house).get(path).text
    answer, browser = join(house, path, BERT, PASSWORD)
    assert answer.status_code == 303 and me(browser)["email"] == ANNA


def test_a_person_with_an_account_proves_their_password_and_joins_with_it(house, owner):
    other = house.team("others")
    password = person_with_password(house, ANNA, Role.OWNER, team="others")
    path = invited(owner, "viewer")
    refused, _ = join(house, path, ANNA, PASSWORD)
    assert refused.status_code == 401 and "do not belong together" in refused.text
    answer, browser = join(house, path, ANNA, password)
    assert answer.status_code == 303
    assert (me(browser)["team_id"], me(browser)["role"]) == (DEFAULT_TEAM, "viewer")
    browser.post("/team/switch", data={"team": other}, headers=HERE)
    assert me(browser)["role"] == "owner"


def test_a_link_is_no_way_around_the_limits_of_signing_in(quick_house, quick_owner):
    person_with_password(quick_house, ANNA)
    path = invited(quick_owner)
    for n in range(LIMITS.account - 1):
        count_try(quick_house.deps.database, account_of(ANNA), f"10.3.0.{n}", is_known=False)
    statuses = [join(quick_house, path, ANNA, "wrong horse battery")[0].status_code for _ in range(2)]
    assert statuses == [401, 429]


def test_who_is_signed_in_joins_with_one_click_and_goes_on_in_the_new_team(house, owner):
    house.team("others")
    browser = browsing(house, ANNA, Role.OWNER, team="others")
    path = invited(owner)
    assert f"Join as {ANNA}" in browser.get(path).text
    answer = browser.post(path, data={"here": "yes"}, headers=HERE, follow_redirects=False)
    assert answer.status_code == 303 and me(browser)["team_name"] == "default"
    fixed = invited(owner, "member", BERT)
    assert "Join as" not in browser.get(fixed).text
    refused = browser.post(fixed, data={"here": "yes"}, headers=HERE, follow_redirects=False)
    assert refused.status_code == 409 and f"This invitation is for {BERT}" in refused.text


def test_who_is_in_the_team_already_does_not_use_the_link_up_and_keeps_their_role(house, owner):
    path = invited(owner, "viewer")
    answer = owner.post(path, data={"here": "yes"}, headers=HERE, follow_redirects=False)
    assert answer.status_code == 409 and "already" in answer.text
    assert me(owner)["role"] == "owner"
    assert join(house, path, ANNA, PASSWORD)[0].status_code == 303
    taken = send(owner, "POST", "/api/v1/invitations", {"email": ANNA})
    assert (taken.status_code, error_of(taken)["param"]) == (409, "email")


@pytest.mark.parametrize(
    ("body", "param"),
    [({"role": "king"}, "role"), ({"email": "anna"}, "email"), ({"email": "a@b\u202ec"}, "email"), ({"x": 1}, "x")],
)
def test_a_wrong_wish_names_its_field(quick_owner, body, param):
    answer = send(quick_owner, "POST", "/api/v1/invitations", body)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)


def test_what_was_typed_stays_after_a_refusal_but_the_password(quick_house, quick_owner):
    answer, _ = join(quick_house, invited(quick_owner), ANNA, "short")
    assert answer.status_code == 400 and f'value="{ANNA}"' in answer.text
    assert 'id="password-problem"' in answer.text and "short" not in answer.text


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_invite_see_and_revoke_invitations(quick_house, quick_owner, role):
    invited(quick_owner)
    one = quick_owner.get("/api/v1/invitations").json()["data"][0]["id"]
    browser = browsing(quick_house, ANNA, role)
    answers = [
        send(browser, "POST", "/api/v1/invitations", {"role": "viewer"}),
        send(browser, "DELETE", f"/api/v1/invitations/{one}"),
        browser.get("/api/v1/invitations"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 3


def test_invitations_of_an_owner_who_is_demoted_or_removed_are_dead(house, owner):
    """Else they could let themselves in again."""
    bert = browsing(house, BERT, Role.OWNER)
    path, kept = invited(bert), invited(owner)
    assert send(owner, "PATCH", f"/api/v1/people/{me(bert)['user_id']}", {"role": "member"}).status_code == 200
    assert browser_of(house).get(path).status_code == 404
    assert browser_of(house).get(kept).status_code == 200


def test_a_joining_person_is_in_the_log_without_the_token_or_a_password(quick_house, quick_owner):
    import structlog

    with structlog.testing.capture_logs() as lines:
        path = invited(quick_owner)
        join(quick_house, path, ANNA, PASSWORD)
    assert [line["event"] for line in lines] == ["person invited", "person joined"]
    with quick_house.deps.database.read() as session:
        anna = session.query(User).filter(User.email == ANNA).one()
        assert session.get(Membership, (anna.id, DEFAULT_TEAM)) is not None
    assert lines[1]["user"] == anna.id and lines[0]["by"] == me(quick_owner)["user_id"]
    assert path.rsplit("/", 1)[1] not in str(lines) and PASSWORD not in str(lines)
