"""The whole product in a real browser: from the setup link to a link that is revoked, with real processes.

One installation as `tuneroom up` starts it (its own broker, database and workers) and a tiny random base: nobody
expects sense of its answers, everything else is as in earnest.
"""

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import LAPTOP, PHONE, chromium
from tests.journeys.launched import eventually, without_bundled_base
from tests.tiny import tiny_base
from webapp.ownership import read_record
from webapp.running import Running, running

__all__ = ["chromium"]

PASSWORD = "correct horse battery staple"
SLOW = 90_000  # trainings, merges and first answers, on two busy cores


@pytest.fixture
def app(tmp_path, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)
    tiny_base(tmp_path / "tiny")
    with running(tmp_path / "var") as started:
        yield started


@pytest.fixture(autouse=True)
def last_seen(chromium: Browser, tmp_path: Path):
    """What stood in each window when the test ended, for whoever looks into why it failed."""
    yield
    for number, page in enumerate(page for context in chromium.contexts for page in context.pages):
        page.screenshot(path=tmp_path / f"last-seen-{number}.png", full_page=True)


@pytest.mark.timeout(600)
def test_from_the_setup_link_to_a_revoked_link(app: Running, chromium: Browser, tmp_path: Path):
    outside: list[str] = []
    ada = person(chromium, app, outside)
    page = ada.new_page()

    # The first administrator, by the link that `up` printed once.
    link = setup_link(app)
    page.goto(link)
    page.get_by_label("E-mail").fill("ada@example.org")
    page.locator("input[name=password]").fill("short")
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_text("12").last).to_be_visible()
    expect(page.get_by_label("E-mail")).to_have_value("ada@example.org")
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    assert page.request.get(link).status == 404  # it is dead

    # A base model from a folder.
    page.goto(f"{app.url}/bases")
    page.get_by_label("Model").fill(str(tmp_path / "nowhere"))
    page.get_by_label("Name").fill("tiny")
    page.get_by_role("button", name="Add base model").click()
    expect(page.get_by_text("nothing lies at that path").first).to_be_visible(timeout=SLOW)
    page.goto(f"{app.url}/bases")
    page.get_by_label("Model").fill(str(tmp_path / "tiny"))
    page.get_by_label("Name").fill("tiny")
    page.get_by_role("button", name="Add base model").click()
    expect(page.locator("table").get_by_text("tiny", exact=True).first).to_be_visible(timeout=SLOW)

    # A sample, with one click, into a run; its curve moves and it ends well.
    page.goto(f"{app.url}/datasets")
    row = page.get_by_role("row").filter(has_text="larkspur-facts")
    row.get_by_role("link", name="Train on this").click()
    start_run(page, name="facts", epochs=3)
    first = wait_for_curve(page)
    expect(page.locator(".tr-head .tr-chip").first).to_contain_text("done", timeout=SLOW)
    assert curve(page) != first
    run_address = page.url

    # A second run, stopped at once.
    page.goto(run_address.replace("/run?id=", "/train?from="))
    start_run(page, name="too-long", epochs=50)
    expect(page.get_by_text(re.compile(r"\d+ of [\d,]+ steps")).first).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Cancel").click()
    page.locator("dialog").get_by_role("button").last.click()
    expect(page.locator(".tr-head .tr-chip").first).to_contain_text("cancelled", timeout=SLOW)

    # Its adapter, merged with a report.
    page.goto(run_address)
    page.get_by_role("link", name="Open adapter").click()
    expect(page.get_by_role("heading", name=re.compile("facts")).first).to_be_visible()
    adapter_address = page.url
    page.get_by_label("Onto the 4-bit base").check()
    page.get_by_role("button", name="Start the merge").click()
    expect(page.get_by_role("link", name="Open the merge")).to_be_visible(timeout=SLOW)

    # Base and adapter on one prompt.
    page.get_by_role("link", name="Chat", exact=True).click()
    page.wait_for_url("**/playground?**")
    panes = page.locator(".tr-pg-pane")
    expect(panes.first).to_be_visible()
    while panes.count() < 2:
        page.get_by_role("button", name="Add pane").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Max tokens").fill("12")
    page.keyboard.press("Escape")
    page.get_by_label("Prompt for all panes").fill("Who feeds the owl?")
    page.get_by_label("Prompt for all panes").press("Enter")
    for number in (0, 1):
        expect(panes.nth(number).locator(".tr-pg-figures")).to_contain_text("tokens", timeout=SLOW)

    # A link for somebody without an account.
    page.goto(adapter_address)
    page.get_by_label("Title").fill("Ask about Larkspur")
    page.get_by_role("button", name="Create the link").click()
    shared = page.locator("#made-link").inner_text()
    nobody = person(chromium, app, outside, viewport=PHONE)
    visit = nobody.new_page()
    visit.goto(shared)
    expect(visit.get_by_role("heading", name="Ask about Larkspur")).to_be_visible()
    visit.get_by_label("Your message").fill("Hello")
    visit.get_by_label("Your message").press("Enter")
    expect(visit.locator(".tr-turn-model")).to_be_visible(timeout=SLOW)
    expect(visit.get_by_role("button", name="Send")).to_be_visible(timeout=SLOW)
    page.reload()
    page.get_by_role("button", name="Revoke").click()
    page.locator("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Nobody without an account can reach this adapter")).to_be_visible()
    assert visit.goto(shared).status == 404  # type: ignore[union-attr]

    # A second person, who may look and chat, and nothing else.
    page.goto(f"{app.url}/team")
    page.get_by_label("Role").last.select_option("viewer")
    page.get_by_role("button", name="Create invitation").click()
    expect(page.locator("#new-invitation-text")).to_contain_text("/invite/")
    invited = page.locator("#new-invitation-text").inner_text()
    viewer = person(chromium, app, outside)
    looks = viewer.new_page()
    looks.goto(invited)
    looks.get_by_label("E-mail").fill("vera@example.org")
    looks.locator("input[name=password]").fill(PASSWORD)
    looks.get_by_role("button", name="Join", exact=True).click()
    expect(looks.get_by_role("heading", name="Runs")).to_be_visible()
    looks.goto(run_address)
    expect(looks.get_by_role("heading", name="facts")).to_be_visible()
    expect(looks.get_by_role("button", name="Delete")).to_have_count(0)
    looks.goto(adapter_address)
    expect(looks.get_by_role("link", name="Chat", exact=True)).to_be_visible()
    for forbidden in ("Start the merge", "Create the link", "Delete"):
        expect(looks.get_by_role("button", name=forbidden).filter(visible=True)).to_have_count(0)
    looks.goto(f"{app.url}/team")
    expect(looks.get_by_text("ada@example.org").first).to_be_visible()
    expect(looks.get_by_role("button", name="Create invitation")).to_have_count(0)

    # The web process ends and comes back; nobody has to sign in again, nothing is lost.
    page.goto(run_address)
    kill_web(app)
    eventually(lambda: page.request.get(f"{app.url}/healthz", fail_on_status_code=False).ok, 60)
    page.reload()
    expect(page.get_by_role("heading", name="facts")).to_be_visible()

    # Signed out is out.
    page.get_by_label("You and this team").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(run_address)
    page.get_by_label("E-mail").fill("ada@example.org")
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="facts")).to_be_visible()
    assert page.url == run_address
    assert outside == []


def person(chromium: Browser, app: Running, outside: list[str], **options) -> BrowserContext:
    """A fresh browser; what it asks of other hosts is noted."""
    context = chromium.new_context(**({"viewport": LAPTOP} | options))
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)

    def note(request) -> None:
        if not request.url.startswith((app.url, "data:", "blob:")):
            outside.append(request.url)

    context.on("request", note)
    return context


def setup_link(app: Running) -> str:
    log = app.data_dir / "logs" / "up.log"
    eventually(lambda: "/setup/" in log.read_text(), 30)
    (link,) = re.findall(r"http\S+/setup/\S+", log.read_text())
    return link


def start_run(page: Page, *, name: str, epochs: int) -> None:
    expect(page.get_by_role("button", name="Start run")).to_be_enabled()  # the form is filled by then
    page.get_by_label("Quick").click()
    page.get_by_text(re.compile("^Advanced:")).click()
    page.get_by_label("Epochs", exact=True).fill(str(epochs))
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Start run").click()
    page.wait_for_url("**/run?id=ftjob-*")
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def curve(page: Page) -> str:
    """The drawn line of the first chart, as its path."""
    return page.evaluate("() => [...document.querySelectorAll('svg path')].map(p => p.getAttribute('d')).join('')")


def wait_for_curve(page: Page) -> str:
    expect(page.get_by_text(re.compile(r"\d+ of [\d,]+ steps")).first).to_be_visible(timeout=SLOW)
    return curve(page)


def kill_web(app: Running) -> None:
    record = read_record(app.data_dir)
    assert record is not None
    (web,) = [part for part in record.parts if part.name == "web"]
    assert web.pid is not None
    os.kill(web.pid, signal.SIGKILL)
