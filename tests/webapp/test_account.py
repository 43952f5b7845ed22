"""What belongs to a person: password, browsers, API keys. In a browser only, and nobody else's."""

from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from models.db.tables import ApiKey
from models.domain.access import Role
from models.domain.errors import AppError, NotFound, NotSignedIn
from tests.entering import browser_of, browsing, enter, person_with_password, send, signed_in
from tests.house import error_of
from webapp.actions.prove_password import LIMITS, Knock, account_of, count_try, prove_password
from webapp.cli import app
from webapp.commands.opened import opened_deps
from webapp.commands.options import settings_from
from webapp.routes.cookie import DEVICE
from webapp.views.people import device_name

ANNA, BERT = "anna@example.org", "bert@example.org"
NEW = "correct horse battery"


def password_of(house, browser, old: str, new: str):
    return send(browser, "POST", "/api/v1/password", {"old": old, "new": new})


def test_a_changed_password_ends_all_other_sign_ins_and_the_old_password(house):
    old = person_with_password(house)
    here, elsewhere = signed_in(house, ANNA, old), signed_in(house, ANNA, old, "10.0.0.2")
    device = here.cookies[DEVICE]
    assert password_of(house, here, old, NEW).status_code == 200
    assert here.get("/api/v1/me").status_code == 200
    assert elsewhere.get("/api/v1/me").status_code == 401
    assert enter(browser_of(house), ANNA, old).status_code == 401
    assert enter(browser_of(house), ANNA, NEW).status_code == 303
    assert here.cookies[DEVICE] != device, "the device stays known under the new password"


@pytest.mark.parametrize(
    ("old", "new", "param", "told"),
    [
        ("wrong horse battery", NEW, "old", "not your password"),
        (None, "short", "new", "has 5 characters; at least 12"),
        (None, "x" * 300, "new", "at most 256"),
        (None, None, "new", "the password you have"),
    ],
)
def test_a_password_is_not_changed_without_the_old_one_or_to_a_bad_one(quick_house, old, new, param, told):
    had = person_with_password(quick_house)
    browser = signed_in(quick_house, ANNA, had)
    answer = password_of(quick_house, browser, old or had, new or had)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)
    assert told in error_of(answer)["message"]
    assert enter(browser_of(quick_house), ANNA, had).status_code == 303


def test_a_stolen_session_cannot_guess_the_password(quick_house):
    browser = signed_in(quick_house, ANNA, person_with_password(quick_house))
    this = browser.get("/api/v1/sign-ins").json()["data"][0]["id"]
    for _ in range(LIMITS.place - 1):
        count_try(quick_house.deps.database, account_of(ANNA), this, is_known=True)
    answers = [password_of(quick_house, browser, "wrong horse battery", NEW) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 429]


def test_a_person_sees_their_browsers_and_signs_out_one_or_all(house):
    password = person_with_password(house)
    here, elsewhere = signed_in(house, ANNA, password), signed_in(house, ANNA, password, "10.0.0.2")
    listed = here.get("/api/v1/sign-ins").json()["data"]
    assert [(one["is_this"], one["address"], one["agent"]) for one in listed] == [
        (True, "10.0.0.1", "testclient"),
        (False, "10.0.0.2", "testclient"),
    ]
    assert send(here, "DELETE", f"/api/v1/sign-ins/{listed[1]['id']}").status_code == 200
    assert elsewhere.get("/api/v1/me").status_code == 401
    again = signed_in(house, ANNA, password, "10.0.0.3")
    assert send(here, "DELETE", "/api/v1/sign-ins").json()["deleted"] == 2
    assert [browser.get("/api/v1/me").status_code for browser in (here, again)] == [401, 401]


def test_other_peoples_browsers_do_not_exist_not_even_for_an_administrator(house):
    anna = browsing(house, ANNA)
    root = browsing(house, BERT, Role.OWNER, admin=True)
    theirs = anna.get("/api/v1/sign-ins").json()["data"][0]["id"]
    assert send(root, "DELETE", f"/api/v1/sign-ins/{theirs}").status_code == 404
    assert len(root.get("/api/v1/sign-ins").json()["data"]) == 1
    assert anna.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize("role", Role)
def test_everybody_makes_keys_that_are_shown_once_and_dead_when_revoked(house, role):
    browser = browsing(house, ANNA, role)
    made = send(browser, "POST", "/api/v1/keys", {"name": "  my   laptop "}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert house.client.get("/api/v1/me", headers=headers).json()["role"] == role
    listed = browser.get("/api/v1/keys").json()["data"]
    assert [(one["name"], "secret" in one, one["last_used_at"] is None) for one in listed] == [
        ("my laptop", False, False)
    ]
    assert send(browser, "DELETE", f"/api/v1/keys/{made['id']}").status_code == 200
    assert house.client.get("/api/v1/me", headers=headers).status_code == 401
    assert browser.get("/api/v1/keys").json()["data"] == []
    with house.deps.database.read() as session:
        assert made["secret"] not in str(vars(session.get_one(ApiKey, made["id"])))


def test_an_owner_sees_and_revokes_the_teams_keys_and_a_member_only_their_own(house):
    anna = browsing(house, ANNA)
    bert = browsing(house, BERT, Role.OWNER)
    mine = send(anna, "POST", "/api/v1/keys", {"name": "mine"}).json()["id"]
    his = send(bert, "POST", "/api/v1/keys", {"name": "his"}).json()["id"]
    assert anna.get("/api/v1/keys?team=true").status_code == 403
    assert send(anna, "DELETE", f"/api/v1/keys/{his}").status_code == 403
    assert {one["id"] for one in bert.get("/api/v1/keys?team=true").json()["data"]} == {mine, his}
    assert send(bert, "DELETE", f"/api/v1/keys/{mine}").status_code == 200


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\u202eb"])
def test_a_key_needs_a_name_that_can_be_shown(quick_house, name):
    browser = browsing(quick_house, ANNA)
    answer = send(browser, "POST", "/api/v1/keys", {"name": name})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "name")


def test_a_key_manages_no_people_no_keys_and_no_browsers(quick_house):
    """Whoever stole one must not make themselves at home with it."""
    owner = quick_house.person(Role.OWNER)
    acts = [
        ("POST", "/api/v1/keys", {"name": "more"}),
        ("DELETE", f"/api/v1/keys/{owner.principal.key}", None),
        ("GET", "/api/v1/sign-ins", None),
        ("DELETE", "/api/v1/sign-ins", None),
        ("DELETE", "/api/v1/sign-ins/signin-1", None),
        ("POST", "/api/v1/password", {"old": "x", "new": NEW}),
        ("POST", "/api/v1/invitations", {"role": "owner"}),
        ("GET", "/api/v1/invitations", None),
        ("PATCH", f"/api/v1/people/{owner.principal.user}", {"role": "member"}),
        ("DELETE", f"/api/v1/people/{owner.principal.user}", None),
        ("POST", "/api/v1/teams", {"name": "mine"}),
    ]
    for method, path, body in acts:
        answer = quick_house.client.request(method, path, json=body, headers=owner.headers)
        assert answer.status_code == 403, (method, path, answer.text)
    assert quick_house.client.get("/api/v1/me", headers=owner.headers).status_code == 200


def test_a_reset_on_the_command_line_prints_the_new_password_last_and_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEROOM_DATA_DIR", str(tmp_path / "var"))

    def tuneroom(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, AppError):
            raise result.exception
        assert "[info" not in result.output
        return result.output.splitlines()[-1]

    tuneroom("migrate")
    old = tuneroom("user", "add", ANNA)
    new = tuneroom("user", "reset", "Anna@Example.org")
    assert len(new) == 24 and new != old
    with opened_deps(settings_from(None)) as deps:
        for password, is_right in ((old, False), (new, True)):
            knock = Knock(email=ANNA, password=password, address="10.0.0.1")
            with nullcontext() if is_right else pytest.raises(NotSignedIn):
                prove_password(deps.database, deps.secret_key, knock)
    told = (tmp_path / "var" / "logs" / "commands.log").read_text()
    assert "person added" in told and "password reset" in told
    assert not any(secret in told for secret in (ANNA, old, new))
    with pytest.raises(NotFound, match="tuneroom user add"):
        tuneroom("user", "reset", "nobody@example.org")


def test_browsers_are_named_as_people_know_them():
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0 Safari/537.36"
    assert device_name(chrome) == "Chrome on Linux"
    assert device_name("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1") == (
        "Safari on iPhone"
    )
    assert (device_name("<script>"), device_name("")) == ("<script>", "unknown browser")
