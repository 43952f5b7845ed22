"""The team: who may change whom, over HTTP and on the pages as owner, member and viewer."""

import threading

from sqlalchemy import select

from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.store.team import TeamStore
from models.db.tables import ApiKey, User
from models.domain.access import Member, Role
from models.domain.errors import Conflict
from models.domain.ids import TeamId, UserId
from tests.browser import PHONE, chromium, site
from tests.entering import HERE, browsing, me, send
from tests.house import error_of
from tests.people import make_member, make_team

__all__ = ["chromium", "site"]

OWNER, ANNA, BERT = "owner@example.org", "anna@example.org", "bert@example.org"


def user_id(house, email: str) -> str:
    with house.deps.database.read() as session:
        return session.scalars(select(User.id).where(User.email == email)).one()


def test_everybody_sees_who_is_in_the_team_and_only_owners_change_it(house):
    owner, anna, bert = browsing(house, OWNER, Role.OWNER), browsing(house, ANNA), browsing(house, BERT, Role.VIEWER)
    for browser in (owner, anna, bert):
        people = browser.get("/api/v1/people").json()["data"]
        assert [(one["email"], one["role"]) for one in people] == [(ANNA, "member"), (BERT, "viewer"), (OWNER, "owner")]
    for browser in (anna, bert):
        for method, path, body in (
            ("PATCH", f"/api/v1/people/{user_id(house, OWNER)}", {"role": "viewer"}),
            ("PATCH", f"/api/v1/people/{me(browser)['user_id']}", {"role": "owner"}),
            ("DELETE", f"/api/v1/people/{user_id(house, OWNER)}", None),
            ("POST", "/api/v1/teams", {"name": "mine"}),
        ):
            assert send(browser, method, path, body).status_code == 403
    assert send(owner, "PATCH", f"/api/v1/people/{user_id(house, ANNA)}", {"role": "viewer"}).status_code == 200
    assert me(anna)["role"] == "viewer", "from the next request on"
    assert send(owner, "POST", "/api/v1/teams", {"name": "mine"}).status_code == 403, "only an administrator adds teams"


def test_another_teams_person_is_absent_even_for_an_administrator(house):
    make_team(house.deps.database, "others")
    browsing(house, ANNA, team="others")
    root = browsing(house, OWNER, Role.OWNER, admin=True)
    for method, body in (("PATCH", {"role": "viewer"}), ("DELETE", None)):
        assert send(root, method, f"/api/v1/people/{user_id(house, ANNA)}", body).status_code == 404


def test_a_removed_person_is_out_at_once_with_browser_and_keys_and_stays_out_after_coming_back(house):
    owner, anna = browsing(house, OWNER, Role.OWNER), browsing(house, ANNA)
    secret = send(anna, "POST", "/api/v1/keys", {"name": "laptop"}).json()["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    assert send(owner, "DELETE", f"/api/v1/people/{user_id(house, ANNA)}").status_code == 200
    assert anna.get("/api/v1/me").status_code == 401
    assert house.client.get("/api/v1/me", headers=headers).status_code == 401
    with house.deps.database.write() as session:
        SystemStore(session).join_team(user_id(house, ANNA), DEFAULT_TEAM, Role.VIEWER)
    assert house.client.get("/api/v1/me", headers=headers).status_code == 401, "an old key does not come back to life"


def test_the_last_owner_stays(house):
    owner = browsing(house, OWNER, Role.OWNER)
    browsing(house, ANNA)
    path = f"/api/v1/people/{user_id(house, OWNER)}"
    for method, body in (("PATCH", {"role": "member"}), ("DELETE", None)):
        answer = send(owner, method, path, body)
        assert answer.status_code == 409 and "is the only owner" in error_of(answer)["message"]
    send(owner, "PATCH", f"/api/v1/people/{user_id(house, ANNA)}", {"role": "owner"})
    assert send(owner, "PATCH", path, {"role": "member"}).status_code == 200


def test_an_administrator_is_not_removed_from_their_only_team(house):
    """They could not sign in any more, and the setup link is dead for good."""
    owner = browsing(house, OWNER, Role.OWNER)
    browsing(house, ANNA, Role.MEMBER, admin=True)
    answer = send(owner, "DELETE", f"/api/v1/people/{user_id(house, ANNA)}")
    assert answer.status_code == 409 and "is in no other team" in error_of(answer)["message"]


def test_two_owners_who_demote_each_other_at_once_leave_one(house):
    database = house.deps.database
    owners = [make_member(database, Role.OWNER) for _ in range(2)]
    ready, came = threading.Barrier(2), []

    def demote(by: Member, whom: UserId) -> None:
        ready.wait()
        try:
            with database.write() as session:
                TeamStore(session, by).set_role(whom, Role.MEMBER)
            came.append("done")
        except Conflict:
            came.append("refused")

    threads = [threading.Thread(target=demote, args=(owners[n], owners[1 - n].user)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        roles = [one.role for one in TeamStore(session, owners[0]).people()]
    assert sorted(came) == ["done", "refused"] and roles.count(Role.OWNER) == 1


def test_an_administrator_adds_a_team_owns_it_and_switches_to_it(house):
    root = browsing(house, OWNER, Role.OWNER, admin=True)
    made = send(root, "POST", "/api/v1/teams", {"name": "  Night   shift "})
    assert made.status_code == 201
    assert (
        root.post("/team/switch", data={"team": made.json()["id"]}, headers=HERE, follow_redirects=False).status_code
        == 303
    )
    assert (me(root)["team_name"], me(root)["role"]) == ("Night shift", "owner")
    again = send(root, "POST", "/api/v1/teams", {"name": "night SHIFT"})
    assert (again.status_code, error_of(again)["param"]) == (409, "name")
    assert send(root, "POST", "/api/v1/teams", {"name": ""}).status_code == 400


def test_what_a_team_uses_is_counted_without_other_teams(house):
    person = house.person()
    _, adapter = house.trained(person, house.base())
    house.merged(person, adapter)
    with house.deps.database.read() as session:
        used = TeamStore(session, person.principal).usage()
        others = make_member(house.deps.database, Role.OWNER, make_team(house.deps.database, "others"))
        assert not any(vars(TeamStore(session, others).usage()).values())
    assert (used.adapters, used.merges, used.runs) == (1, 1, 1)
    assert used.dataset_bytes > 0 and used.model_bytes == len(b"weights") + len(b"x") + len(b"merged")


def test_an_owner_manages_the_team_in_a_browser(site):
    """Invite, change a role, remove, revoke a key: each on /team, each seen in the table afterwards."""
    owner, anna = site.person(Role.OWNER), site.person(Role.MEMBER)
    page = site.page(owner, "/team")
    row = page.locator("tr", has_text=email_of(site, anna))
    row.locator("select").select_option("viewer")
    page.get_by_text("is viewer now").wait_for()
    assert role_of(site, anna) == "viewer"

    page.fill("input[name=email]", "anna")
    page.eval_on_selector("form.tr-inline", "form => form.noValidate = true")
    page.click("text=Create invitation")
    page.locator("label", has_text="E-mail").get_by_text("is not an e-mail address").wait_for()
    assert page.input_value("input[name=email]") == "anna", "what was typed stays"
    page.fill("input[name=email]", "new@example.org")
    page.click("text=Create invitation")
    page.locator("#new-invitation-text", has_text="/invite/").wait_for()
    page.locator("tr", has_text="new@example.org").wait_for()
    assert page.locator("label .tr-error").count() == 0

    invite = page.inner_text("#new-invitation-text")
    guest = site.page(None, "/invite/" + invite.rsplit("/", 1)[1])
    assert guest.input_value("input[name=email]") == "new@example.org"
    guest.fill("input[name=password]", "short words")
    guest.locator("form button.tr-primary").click()
    guest.get_by_text("has 11 characters; at least 12").wait_for()
    guest.fill("input[name=password]", "correct horse battery")
    guest.locator("form button.tr-primary").click()
    guest.wait_for_url("**/datasets")
    guest.get_by_label("You and this team").click()
    guest.get_by_text("Sign out").click()
    guest.wait_for_url("**/login")

    page.reload()
    page.locator("tr", has_text="new@example.org").get_by_text("Remove").click()
    page.get_by_text("Remove new@example.org from default?").wait_for()
    page.locator("dialog").get_by_text("Remove", exact=True).click()
    page.get_by_text("new@example.org is removed").wait_for()
    page.locator("tr", has_text="new@example.org").wait_for(state="detached")
    page.locator("tr", has_text=email_of(site, anna)).get_by_text("Revoke").click()
    page.locator("dialog").get_by_text("Revoke", exact=True).click()
    page.get_by_text("The key is revoked").wait_for()
    with site.house.deps.database.read() as session:
        assert session.get_one(ApiKey, anna.principal.key).revoked_at is not None

    with site.house.deps.database.write() as session:
        session.get_one(User, owner.principal.user).is_admin = True
    page.reload()
    form = page.locator("form", has_text="Create team")
    form.locator("input").fill("Night shift")
    form.get_by_text("Create team").click()
    page.get_by_label("Switch team").click()
    page.get_by_role("button", name="Night shift").click()
    page.wait_for_url("**/datasets")
    page.get_by_label("Switch team").get_by_text("Night shift").wait_for()


def test_a_viewer_sees_the_team_and_looks_after_their_own_account_in_a_browser(site):
    owner, viewer = site.person(Role.OWNER), site.person(Role.VIEWER)
    page = site.page(viewer, "/team", viewport=PHONE)
    page.locator("tr", has_text=email_of(site, owner)).wait_for()
    assert page.locator("select, form[data-send], button.tr-danger").count() == 0
    assert page.get_by_text("API keys of the team").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    elsewhere = site.page(viewer, "/account")
    elsewhere.get_by_text("this one").wait_for()
    page.goto(site.url + "/account")
    page.fill("input[name=name]", "my <b>laptop</b>")
    page.click("text=Create key")
    page.locator("#new-key-text", has_text="tr-").wait_for()
    row = page.locator("tr", has_text="my <b>laptop</b>")
    row.wait_for()
    secret = page.inner_text("#new-key-text")
    headers = {"Authorization": f"Bearer {secret}"}
    assert site.house.client.get("/api/v1/me", headers=headers).json()["role"] == "viewer"
    row.get_by_text("Revoke").click()
    page.locator("dialog").get_by_text("Revoke", exact=True).click()
    row.wait_for(state="detached")
    assert site.house.client.get("/api/v1/me", headers=headers).status_code == 401

    page.fill("input[name=old]", "wrong horse battery")
    page.fill("input[name=new]", "correct horse battery")
    page.click("text=Change password")
    page.locator("label", has_text="Password now").get_by_text("This is not your password now").wait_for()
    page.locator("tr", has_text="127.0.0.1").get_by_text("Sign out").first.click()
    page.locator("dialog").get_by_text("Sign out", exact=True).click()
    page.get_by_text("That browser is signed out").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    elsewhere.reload()
    elsewhere.get_by_role("heading", name="Sign in").wait_for()


def email_of(site, person) -> str:
    with site.house.deps.database.read() as session:
        return session.get_one(User, person.principal.user).email


def role_of(site, person) -> Role:
    member = Member(user=person.principal.user, team=TeamId(DEFAULT_TEAM), role=Role.OWNER)
    with site.house.deps.database.read() as session:
        return next(one.role for one in TeamStore(session, member).people() if one.user_id == person.principal.user)
