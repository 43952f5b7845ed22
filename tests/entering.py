"""Builders for tests of how people come in: browsers without a key, and what our own pages send along."""

from starlette.testclient import TestClient

from models.db.store.system import SystemStore
from models.domain.access import Role
from tests.house import House
from webapp.actions.add_user import add_user
from webapp.actions.sessions import open_session
from webapp.routes.cookie import NAME

HERE = {"Origin": "http://testserver"}


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


def person_with_password(house: House, email: str = "anna@example.org", role: Role = Role.MEMBER, **options) -> str:
    """Adds a person; returns the password."""
    return add_user(house.deps.database, email, role=role.value, **options)


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
