"""Signing in, and who guesses passwords (S5): counted by account and place, the same for accounts that do not exist."""

import threading
import time

import pytest
import structlog
from sqlalchemy import func, select

from models.db.tables import Membership, SignIn, SignInTry, Team, User, db_now
from models.domain.access import Role
from models.domain.errors import AppError, Code, NotSignedIn
from tests.entering import HERE, browser_of, enter, me, person_with_password, send, signed_in
from webapp.actions.add_user import add_user
from webapp.actions.change_password import reset_password
from webapp.actions.prove_password import LIMITS, Knock, account_of, count_try, place_of, prove_password
from webapp.actions.set_up import new_setup_link
from webapp.routes.cookie import DEVICE, NAME

ANNA = "anna@example.org"


def knock(house, email: str, password: str, address: str, device: str | None = None) -> str:
    """What came of it: entered, wrong or refused."""
    try:
        prove_password(
            house.deps.database,
            house.deps.secret_key,
            Knock(email=email, password=password, address=address, device=device),
        )
    except NotSignedIn:
        return "wrong"
    except AppError as error:
        assert error.code is Code.RATE_LIMITED and 0 < error.facts["retry_after_seconds"] <= 901
        return "refused"
    return "entered"


def tries(house) -> int:
    """Tries on record that did not succeed: each cost a hash, and no other did."""
    with house.deps.database.read() as session:
        return session.scalar(select(func.count()).where(~SignInTry.has_succeeded))


def test_a_person_comes_in_by_password_and_goes_where_they_wanted(house):
    password = person_with_password(house)
    browser = browser_of(house)
    wanted = browser.get("/run?id=ftjob-1", headers={"Accept": "text/html"})
    assert wanted.status_code == 401 and 'value="/run?id=ftjob-1"' in wanted.text
    form = {"email": " Anna@Example.ORG ", "password": password, "next": "/run?id=ftjob-1"}
    done = browser.post("/login", data=form, headers=HERE, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/run?id=ftjob-1")
    assert me(browser)["email"] == ANNA
    again = browser.get("/login?next=/datasets", follow_redirects=False)
    assert (again.status_code, again.headers["location"]) == (303, "/datasets")


@pytest.mark.parametrize("next", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "x", "/logout"])
def test_nobody_is_sent_to_another_site(quick_house, next):
    password = person_with_password(quick_house)
    form = {"email": ANNA, "password": password, "next": next}
    done = browser_of(quick_house).post("/login", data=form, headers=HERE, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/")


def test_a_new_sign_in_ends_the_one_before_it_in_the_same_browser_and_signing_out_ends_it_on_the_server(house):
    password = person_with_password(house)
    browser = signed_in(house, ANNA, password)
    first = browser.cookies[NAME]
    enter(browser, ANNA, password)
    second = browser.cookies[NAME]
    assert browser.post("/logout", headers=HERE, follow_redirects=False).status_code == 303
    for token in (first, second):
        thief = browser_of(house)
        thief.cookies[NAME] = token
        assert thief.get("/api/v1/me").status_code == 401


def test_one_address_gets_ten_tries_on_an_account_then_waits_even_with_the_right_password(house):
    password = person_with_password(house)
    browser = browser_of(house)
    answers = [enter(browser, ANNA, "wrong horse battery") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert 0 < int(answers[10].headers["retry-after"]) <= 901
    assert "Too many tries to sign in" in answers[10].text and f'value="{ANNA}"' in answers[10].text
    assert enter(browser, ANNA, password).status_code == 429
    assert tries(house) == 10


def test_an_account_that_does_not_exist_has_the_same_words_status_and_time(quick_house):
    add_user(quick_house.deps.database, ANNA)

    def answers(email: str) -> tuple[list[tuple[int, str]], float]:
        browser, seen, times = browser_of(quick_house, f"10.1.0.{len(email)}"), [], []
        for _ in range(11):
            began = time.perf_counter()
            answer = enter(browser, email, "wrong horse battery")
            times.append(time.perf_counter() - began)
            seen.append((answer.status_code, answer.text.replace(email, "")))
        return seen, min(times[:10])

    known, known_seconds = answers(ANNA)
    unknown, unknown_seconds = answers("nobody@example.org")
    assert known == unknown
    assert 1 / 2 < unknown_seconds / known_seconds < 2, "without the hash it would be a twentieth"


def test_five_hundred_addresses_have_ten_tries_together_and_the_owner_still_gets_in(quick_house):
    """1,000 tries: 10 reach the password. A known browser on a new address enters, and so does a known address."""
    password = add_user(quick_house.deps.database, ANNA)
    home = signed_in(quick_house, ANNA, password, "10.0.0.1")
    began = time.monotonic()
    came = [
        knock(quick_house, ANNA, "wrong horse battery", f"10.{1 + n % 500 // 250}.0.{n % 250}") for n in range(1000)
    ]  # fmt: skip
    seconds = time.monotonic() - began
    assert (came.count("wrong"), came.count("refused"), tries(quick_house)) == (10, 990, 10)
    assert seconds < 20, "a refused try computes no hash: 1,000 hashes would take minutes"
    assert knock(quick_house, ANNA, password, "10.0.0.1") == "entered"
    assert knock(quick_house, ANNA, password, "10.9.9.9", home.cookies[DEVICE]) == "entered"
    assert knock(quick_house, ANNA, password, "10.9.9.9") == "entered", "this address is known now"
    assert knock(quick_house, ANNA, password, "10.9.9.8") == "refused", "a new browser on a new address waits"
    assert knock(quick_house, ANNA, password, "10.9.9.8", "A" * 22 + "." + "0" * 64) == "refused"


def test_a_known_place_has_ten_tries_of_its_own_and_strangers_keep_theirs(quick_house):
    password = person_with_password(quick_house)
    signed_in(quick_house, ANNA, password, "10.0.0.1")
    signed_in(quick_house, ANNA, password, "10.0.0.2")
    for _ in range(LIMITS.place - 1):
        count_try(quick_house.deps.database, account_of(ANNA), "10.0.0.1", is_known=True)
    assert [knock(quick_house, ANNA, "wrong horse battery", "10.0.0.1") for _ in range(2)] == ["wrong", "refused"]
    assert knock(quick_house, ANNA, "wrong horse battery", "10.5.5.5") == "wrong"
    assert knock(quick_house, ANNA, password, "10.0.0.2") == "entered"


def test_one_address_cannot_try_a_password_on_everybody(quick_house):
    for n in range(LIMITS.address - 1):
        count_try(quick_house.deps.database, account_of(f"p{n}@example.org"), "10.7.7.7", is_known=False)
    came = [knock(quick_house, f"q{n}@example.org", "Password123!", "10.7.7.7") for n in range(4)]
    assert came == ["wrong"] + ["refused"] * 3


def test_tries_at_the_same_moment_do_not_slip_through(house):
    """30 at once, as from several replicas: the budget is taken under a lock, before the password is looked at."""
    taken, ready = [], threading.Barrier(30)

    def one(n: int) -> None:
        ready.wait()
        try:
            taken.append(count_try(house.deps.database, account_of(ANNA), f"10.3.0.{n}", is_known=False))
        except AppError as error:
            assert error.code is Code.RATE_LIMITED

    threads = [threading.Thread(target=one, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == tries(house) == LIMITS.account


def test_the_wait_ends_when_the_tries_are_fifteen_minutes_old_and_they_are_deleted(house):
    password = person_with_password(house)
    for n in range(10):
        count_try(house.deps.database, account_of(ANNA), f"10.3.0.{n}", is_known=False)
    assert knock(house, ANNA, password, "10.4.0.1") == "refused"
    with house.deps.database.write() as session:
        for row in session.query(SignInTry):
            row.at = db_now(-901)
    assert knock(house, ANNA, password, "10.4.0.1") == "entered"
    with house.deps.database.read() as session:
        places = {row.address.partition(":")[0] for row in session.query(SignInTry)}
    assert places == {"10.4.0.1", "device"}


def test_a_reset_ends_every_sign_in_forgets_the_places_and_lets_the_owner_in_at_once(house):
    old = person_with_password(house)
    browser = signed_in(house, ANNA, old, "10.0.0.1")
    for n in range(10):
        count_try(house.deps.database, account_of(ANNA), f"10.3.0.{n}", is_known=False)
    new = reset_password(house.deps.database, " Anna@example.org")
    assert browser.get("/api/v1/me").status_code == 401
    assert knock(house, ANNA, old, "10.0.0.1", browser.cookies[DEVICE]) == "wrong"
    with house.deps.database.read() as session:
        assert session.query(SignInTry).one().is_known_device is False
    assert knock(house, ANNA, new, "10.0.0.9") == "entered"


def test_addresses_are_counted_as_what_one_customer_has():
    assert place_of("2001:db8:1:2:aaaa::1") == place_of("2001:db8:1:2:bbbb::9") == "2001:db8:1:2::/64"
    assert place_of("2001:db8:1:3::1") != place_of("2001:db8:1:2::1")
    assert place_of("::ffff:10.0.0.1") == place_of("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("a\0b@example.org", "x"),
        ("a" * 5000, "x"),
        (ANNA, "x\0"),
        (ANNA, "x" * 900_000),
        ("", ""),
        ("\ufdfa" * 300, "x"),
    ],
)
def test_what_no_account_can_have_is_answered_like_any_wrong_one(house, email, password):
    answer = enter(browser_of(house), email, password)
    assert (answer.status_code, "do not belong together" in answer.text) == (401, True)


def test_a_person_who_is_in_no_team_any_more_is_told_so_after_the_right_password_only(house):
    password = person_with_password(house)
    owner = signed_in(house, "owner@example.org", person_with_password(house, "owner@example.org", Role.OWNER))
    anna = next(one for one in owner.get("/api/v1/people").json()["data"] if one["email"] == ANNA)
    assert send(owner, "DELETE", f"/api/v1/people/{anna['id']}").status_code == 200
    answer = enter(browser_of(house), ANNA, password)
    assert answer.status_code == 401 and "You are in no team here any more" in answer.text
    assert "do not belong together" in enter(browser_of(house), ANNA, "wrong horse battery").text


def test_a_sign_in_begins_in_the_team_of_the_last_one(house):
    password = person_with_password(house)
    with house.deps.database.write() as session:
        user = session.scalar(select(User.id).where(User.email == ANNA))
        session.add(Team(id="team-zebra", name="zebra"))
        session.flush()
        session.add(Membership(user_id=user, team_id="team-zebra", role="viewer"))
    browser = signed_in(house, ANNA, password)
    assert me(browser)["team_name"] == "default"
    browser.post("/team/switch", data={"team": "team-zebra"}, headers=HERE)
    assert (me(browser)["team_name"], me(browser)["role"]) == ("zebra", "viewer")
    assert me(signed_in(house, ANNA, password))["team_name"] == "zebra"
    assert browser.post("/team/switch", data={"team": "team-nobodys"}, headers=HERE).status_code == 404


def test_idle_and_old_sign_ins_are_over(house):
    password = person_with_password(house)
    for column, seconds in ((SignIn.seen_at, -12 * 3600 - 1), (SignIn.expires_at, -1)):
        browser = signed_in(house, ANNA, password)
        assert browser.get("/api/v1/me").status_code == 200
        with house.deps.database.write() as session:
            setattr(session.query(SignIn).order_by(SignIn.id.desc()).first(), column.key, db_now(seconds))
        assert browser.get("/api/v1/me").status_code == 401


def test_no_log_line_holds_a_password_an_address_of_mail_or_a_token_of_a_link(quick_house):
    """Also when something breaks: here the team that the administrator would own is gone."""
    password = person_with_password(quick_house)
    token = new_setup_link(quick_house.deps.database, "http://x").rsplit("/", 1)[1]
    with structlog.testing.capture_logs() as lines:
        signed_in(quick_house, ANNA, password)
        enter(browser_of(quick_house), ANNA, "wrong horse battery")
        with quick_house.deps.database.write() as session:
            for table in ("sign_ins", "memberships", "teams"):
                session.connection().exec_driver_sql(f"DELETE FROM {table}")
        form = {"email": "root@example.org", "password": "correct horse battery"}
        broken = quick_house.client.post(f"/setup/{token}", data=form, headers=HERE)
    assert broken.status_code == 500
    assert [line["event"] for line in lines] == ["signed in", "sign-in refused", "unexpected error"]
    assert lines[2]["path"] == "/setup/***"
    told = str(lines)
    for secret in (password, "horse battery", ANNA, "root@example.org", token):
        assert secret not in told
