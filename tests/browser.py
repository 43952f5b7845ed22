"""A real Chromium on the real application: a served house with its pages, a broker, and a person signed in.

Skipped with a reason where no Chromium is found; failing instead when REQUIRE_BROWSER=1, as in the gate.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

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
TIMEOUT_MS = 15_000
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
    returning: "Returning | None" = None
    outside: list[str] = field(default_factory=list)  # requests to any other host: there must be none

    def context(self, person: Person | None = None, **options) -> BrowserContext:
        """A fresh browser profile, signed in as `person`, or as nobody."""
        context = self.browser.new_context(**({"viewport": LAPTOP} | options))
        context.set_default_timeout(TIMEOUT_MS)
        context.on("request", lambda request: self._note(request))
        return self._signed_in(context, person)

    def page(self, person: Person | None = None, path: str = "/", **options) -> Page:
        """In a profile of its own. Where nothing else is asked for, in one that has Gradio's scripts from before."""
        known = None if options or self.returning is None else self.returning.taken(self.url, self._note)
        page = (self.context(person, **options) if known is None else self._signed_in(known, person)).new_page()
        page.goto(self.url + path)
        return page

    def _signed_in(self, context: BrowserContext, person: Person | None) -> BrowserContext:
        if person is not None:
            context.add_cookies([{"name": NAME, "value": self.token(person), "url": self.url}])
        return context

    def token(self, person: Person) -> str:
        who = person.principal
        return open_session(self.house.deps.database, who.user, who.team, address="127.0.0.1", agent="test")

    def person(self, role: Role = Role.MEMBER, team: TeamId = DEFAULT_TEAM) -> Person:
        return self.house.person(role, team)

    def _note(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.outside.append(request.url)


@dataclass(kw_only=True)
class Returning:
    """One profile for a file's tests, one after another: signed out, and all forgotten but the scripts it has read.

    To read Gradio's own anew is two thirds of what it takes to open a page. They are known by their address, so each
    test's application answers at the same one.
    """

    browser: Browser
    port: int = 0
    context: BrowserContext | None = None
    anchor: Page | None = None
    is_taken: bool = False
    note: Callable[[Request], None] = lambda _request: None

    def taken(self, url: str, note: Callable[[Request], None]) -> BrowserContext | None:
        """None while a test has it. Each request is told to `note`."""
        if self.is_taken:
            return None
        if self.context is None or self.anchor is None:
            self.context = self.browser.new_context(viewport=LAPTOP)
            self.context.set_default_timeout(TIMEOUT_MS)
            self.context.on("request", lambda request: self.note(request))
            self.anchor = self.context.new_page()  # keeps the process, and what that has compiled
            self.anchor.goto(f"{url}/ui/icon.svg")
        self.is_taken, self.note = True, note
        return self.context

    def give_back(self) -> None:
        for context in self.browser.contexts:
            if context is not self.context:
                context.close()
        if self.context is None or self.anchor is None or not self.is_taken:
            return
        self.is_taken = False
        if self.context not in self.browser.contexts or self.anchor.is_closed():
            self.context = self.anchor = None
            return
        for page in self.context.pages:
            if page is not self.anchor:
                page.close()
        self.context.clear_cookies()
        self.context.set_offline(False)
        self.anchor.evaluate("localStorage.clear(); sessionStorage.clear()")


_RETURNING: dict[Browser, Returning] = {}


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
        returning = _RETURNING.setdefault(chromium, Returning(browser=chromium))
        with serving(house, returning.port) as served:
            returning.port = int(served.url.rpartition(":")[2])
            opened = Site(house=house, url=served.url, browser=chromium, returning=returning)
            yield opened
            assert opened.outside == []
            returning.give_back()
    finally:
        deps.close()
        broker.stop()
