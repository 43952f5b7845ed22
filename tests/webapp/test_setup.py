"""The first administrator's way in: one link a start, dead once there is one, the same 404 for all others."""

import re
import threading

import pytest

from models.db.migrations import migrate
from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.tables import Membership, SetupToken, User, db_now
from models.infra.settings import Settings
from tests.entering import HERE, browser_of, me
from webapp.actions.add_user import add_user
from webapp.actions.set_up import new_setup_link
from webapp.deps import Deps
from webapp.routes.cookie import DEVICE, NAME
from webapp.serve import say_setup_link

PASSWORD = "correct horse battery"


def link_of(house) -> str:
    url = new_setup_link(house.deps.database, "http://localhost:7860/")
    assert url is not None and re.fullmatch(r"http://localhost:7860/setup/[\w-]{43}", url)
    return "/setup/" + url.rsplit("/", 1)[1]


def set_up(house, path: str, email: str = "Root@Example.org ", password: str = PASSWORD, **options):
    form = {"email": email, "password": password}
    return browser_of(house).post(path, data=form, headers=HERE, follow_redirects=False, **options)


def test_the_link_makes_the_administrator_who_owns_the_first_team_and_is_signed_in(house):
    path = link_of(house)
    browser = browser_of(house)
    page = browser.get(path)
    assert page.status_code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    done = browser.post(
        path, data={"email": "Root@Example.org ", "password": PASSWORD}, headers=HERE, follow_redirects=False
    )
    assert (done.status_code, done.headers["location"]) == (303, "/")
    cookies = done.headers.get_list("set-cookie")
    assert [cookie.split("=")[0] for cookie in cookies] == [NAME, DEVICE]
    assert all("HttpOnly" in cookie and "SameSite=lax" in cookie for cookie in cookies)
    assert (me(browser)["email"], me(browser)["role"]) == ("root@example.org", "owner")
    with house.deps.database.read() as session:
        user = SystemStore(session).user_by_email("root@example.org")
        assert user.is_admin and user.password_hash.startswith("$argon2id$v=19$m=65536,t=3")
        assert session.get(Membership, (user.id, DEFAULT_TEAM)).role == "owner"


def test_wrong_used_outdated_and_expired_links_are_one_and_the_same_404(house):
    outdated = link_of(house)
    expired = link_of(house)
    with house.deps.database.write() as session:
        session.query(SetupToken).one().expires_at = db_now(-1)
    browser = browser_of(house)
    answers = [
        browser.get(path) for path in (outdated, expired, "/setup/" + "A" * 43, "/setup/x", "/setup/" + "a" * 999)
    ]
    used = link_of(house)
    assert set_up(house, used).status_code == 303
    answers.append(browser.get(used))
    answers += [set_up(house, path, email="second@example.org") for path in (outdated, used)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    with house.deps.database.read() as session:
        assert session.query(User).count() == 1


def test_an_administrator_from_anywhere_ends_the_link_at_once_and_for_good(house):
    path = link_of(house)
    add_user(house.deps.database, "root@example.org", admin=True)
    assert browser_of(house).get(path).status_code == 404
    assert set_up(house, path).status_code == 404
    assert new_setup_link(house.deps.database, "http://x") is None
    with house.deps.database.read() as session:
        assert session.query(SetupToken).count() == 0


@pytest.mark.parametrize(
    ("email", "password", "field", "told"),
    [
        ("root@example.org", "short", "password", "This one has 5 characters; at least 12 are needed"),
        ("root@example.org", "", "password", "Nothing was typed; at least 12 are needed"),
        ("root@example.org", "x" * 257, "password", "at most 256 are possible"),
        ("root@example.org", "abababababab", "password", "guessed at once"),
        ("administrator@example.org", "Administrator@Example.ORG", "password", "guessed at once"),
        ("root@example.org", "twelve chars\x00", "password", "control character"),
        ("root", PASSWORD, "email", "is not an e-mail address"),
        ("member@example.org", PASSWORD, "email", "exists already"),
    ],
)
def test_what_cannot_be_taken_is_said_beside_its_field_and_the_rest_stays(quick_house, email, password, field, told):
    add_user(quick_house.deps.database, "member@example.org")
    path = link_of(quick_house)
    answer = set_up(quick_house, path, email, password)
    assert answer.status_code in (400, 409) and told in answer.text
    assert f'id="{field}-problem"' in answer.text and f'value="{email}"' in answer.text
    assert not password or f'value="{password}"' not in answer.text
    assert set_up(quick_house, path).status_code == 303, "the link is not used up"


def test_a_password_typed_in_another_unicode_form_is_the_same(quick_house):
    """NFKC: a full-width or decomposed spelling of the same letters, as keyboards differ."""
    assert set_up(quick_house, link_of(quick_house), password="ｃａｆé au lait bitte").status_code == 303
    typed = {"email": "root@example.org", "password": "cafe\u0301 au lait bitte"}
    answer = browser_of(quick_house).post("/login", data=typed, headers=HERE, follow_redirects=False)
    assert answer.status_code == 303


def test_another_sites_form_sets_nothing_up(quick_house):
    path = link_of(quick_house)
    form = {"email": "root@example.org", "password": PASSWORD}
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert quick_house.client.post(path, data=form, headers=headers).status_code == 403
    assert quick_house.client.get(path).status_code == 200


def test_a_web_process_by_itself_says_the_link_once_the_database_is_up_to_date(tmp_path, capsys):
    deps = Deps.open(Settings(data_dir=tmp_path, public_url="https://tune.example.org"))
    waiting = threading.Thread(target=say_setup_link, args=(deps, 0.05))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and capsys.readouterr().out == ""
    migrate(deps.database)
    waiting.join()
    assert re.fullmatch(
        r"Set up the first administrator: https://tune\.example\.org/setup/[\w-]{43}\n", capsys.readouterr().out
    )
    add_user(deps.database, "root@example.org", admin=True)
    say_setup_link(deps)
    assert "Set up" not in capsys.readouterr().out
    deps.close()
