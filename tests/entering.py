"""Builders for tests of how people come in: browsers without a key, and what our own pages send along."""

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.testclient import TestClient

from models.db.store.system import SystemStore
from models.domain.access import Role
from tests.house import House
from webapp.actions.passwords import generated_password
from webapp.actions.sessions import open_session
from webapp.routes.cookie import NAME

HERE = {"Origin": "http://testserver"}
LIGHT = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))


def browser_of(house: House, address: str = "10.0.0.1") -> TestClient:
    """A fresh browser at this address: its own cookies."""
    return TestClient(house.client.app, raise_server_exceptions=False, client=(address, 50000))


def signed_in(house: House, email: str, password: str, address: str = "10.0.0.1") -> TestClient:
    browser = browser_of(house, address)
    answer = enter(browser, email, password)
    assert answer.status_code == 303, answer.text
    return browser


def enter(browser: TestClient, email: str, password: str):
    form = {"email": email, "password": password}
    return browser.post("/login", data=form, headers=HERE, follow_redirects=False)


def person_with_password(
    house: House, email: str = "anna@example.org", role: Role = Role.MEMBER, *, team: str = "default"
) -> str:
    """Adds a person; returns the password.

    A stored argon2id hash names its own cost, and this one's is low: signing in takes the same way in a hundredth of
    the time. Where the time is the promise, use `add_user`.
    """
    password = generated_password()
    with house.deps.database.write() as session:
        store = SystemStore(session)
        store.add_user(email, store.team_named(team), role, is_admin=False, password_hash=LIGHT.hash(password))
    return password


def browsing(
    house: House, email: str, role: Role = Role.MEMBER, *, team: str = "default", admin: bool = False
) -> TestClient:
    """A new person, signed in without a password, which takes a third of a second to hash."""
    with house.deps.database.write() as session:
        store = SystemStore(session)
        found = store.team_named(team)
        user = store.add_user(email, found, role, is_admin=admin, password_hash=None)
    browser = browser_of(house)
    browser.cookies[NAME] = open_session(house.deps.database, user.id, found.id, address="10.0.0.1", agent="test")
    return browser


def me(browser: TestClient) -> dict:
    return browser.get("/api/v1/me").json()


def send(browser: TestClient, method: str, path: str, body: dict | None = None):
    return browser.request(method, path, json=body, headers=HERE)
