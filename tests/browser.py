"""A real Chromium on the real application: a served house with its pages, a broker, and a person signed in.

Skipped with a reason where no Chromium is found; failing instead when REQUIRE_BROWSER=1, as in the gate.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from models.domain.access import Role
from models.domain.ids import TeamId
from models.infra import valkey
from models.infra.settings import Settings
from tests.house import DEFAULT_TEAM, House, Person, migrated_sqlite
from tests.webapp.served import serving
from webapp.actions.sessions import open_session
from webapp.app import make_app
from webapp.deps import Deps
from webapp.routes.cookie import NAME

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
LAPTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")  # no longer: its event loop stays in this thread, where other tests start their own
def chromium() -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        reason = "no Chromium on this machine; on Debian: apt install chromium"
        pytest.fail(reason) if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass(frozen=True, kw_only=True)
class Site:
    """The application at `url`, with its `house` (builders of people, files, models) behind it."""

    house: House
    url: str
    browser: Browser
    outside: list[str] = field(default_factory=list)  # requests to any other host: there must be none

    def context(self, person: Person | None = None, **options) -> BrowserContext:
        """A fresh browser profile, signed in as `person`, or as nobody."""
        context = self.browser.new_context(**({"viewport": LAPTOP} | options))
        context.set_default_timeout(15_000)
        context.on("request", lambda request: self._note(request))
        if person is not None:
            context.add_cookies([{"name": NAME, "value": self.token(person), "url": self.url}])
        return context

    def page(self, person: Person | None = None, path: str = "/", **options) -> Page:
        page = self.context(person, **options).new_page()
        page.goto(self.url + path)
        return page

    def token(self, person: Person) -> str:
        who = person.principal
        return open_session(self.house.deps.database, who.user, who.team, address="127.0.0.1", agent="test")

    def person(self, role: Role = Role.MEMBER, team: TeamId = DEFAULT_TEAM) -> Person:
        return self.house.person(role, team)

    def _note(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.outside.append(request.url)


@pytest.fixture
def site(chromium: Browser, tmp_path: Path) -> Iterator[Site]:
    """On SQLite with an embedded Valkey; nothing claims jobs unless a test does."""
    settings = migrated_sqlite(Settings(data_dir=tmp_path / "data"))
    broker = valkey.start(settings)
    assert broker is not None
    deps = Deps.open(settings)
    from starlette.testclient import TestClient

    house = House(deps=deps, client=TestClient(make_app(deps, with_pages=True), raise_server_exceptions=False))
    try:
        with serving(house) as served:
            opened = Site(house=house, url=served.url, browser=chromium)
            yield opened
            assert opened.outside == []
            for context in chromium.contexts:
                context.close()
    finally:
        deps.close()
        broker.stop()
