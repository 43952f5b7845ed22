"""The page of a link in a real browser, by somebody who is signed in nowhere."""

import re

import pytest
from playwright.sync_api import Page, expect

from models.db.store.system import SystemStore
from models.db.tables import Worker, db_now
from models.domain.chat import Delta
from models.domain.ids import new_id
from tests.browser import PHONE, Site, chromium, site
from tests.webapp.scripted_worker import DONE, ScriptedWorker

__all__ = ["chromium", "site"]

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'


@pytest.fixture
def worker(site: Site):
    row = Worker(id=new_id("worker"), host="h", pid=1, lane="chat", device="cpu", slots=1, seen_at=db_now(600))
    with site.house.deps.database.write() as session:
        SystemStore(session).worker_started(row)
    started = ScriptedWorker(site.house.deps.settings)
    yield started
    started.close()


def link_of(site: Site, **wishes) -> tuple[dict, dict]:
    """A link to a new adapter, and its maker's headers."""
    anna = site.person()
    adapter = site.house.trained(anna, site.house.base())[1]
    wishes = {"adapter": adapter, "title": "Larkspur", "sentence": "Knows the house and its rules."} | wishes
    made = site.house.client.post("/api/v1/links", json=wishes, headers=anna.headers).json()
    return made, anna.headers


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your message").fill(question)
    page.get_by_label("Your message").press("Enter")


def test_a_visitor_chats_stops_reloads_and_is_out_once_the_link_is_revoked(site: Site, worker: ScriptedWorker):
    made, headers = link_of(site)
    path = "/s/" + made["url"].rsplit("/", 1)[1]
    page = site.page(None, path, viewport=PHONE)
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    expect(page.get_by_role("heading", name="Larkspur")).to_be_visible()
    expect(page.get_by_text(f"Shared by {made['created_by']}")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    worker.script = (Delta(text="Hello **you**\n\n```py\nprint(1)\n```\n"), Delta(text=HOSTILE), DONE)
    ask(page, "Who is there?")
    expect(page.get_by_text("Who is there?")).to_be_visible()
    answer = page.locator(".tr-turn-model").last
    expect(answer.locator("strong")).to_have_text("you")
    expect(answer.locator("pre")).to_have_text("print(1)")
    expect(answer).to_contain_text(HOSTILE)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert page.evaluate("window.hit") is None

    worker.script = (Delta(text="An answer without an end"),)
    ask(page, "And now?")
    expect(page.get_by_text("An answer without an end")).to_be_visible()
    assert [turn["content"] for turn in worker.requests[1].messages][::2] == ["Who is there?", "And now?"]
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    assert site.house.deps.streams.stop_asked(worker.requests[1].request_id)

    page.reload()
    expect(page.get_by_text("Who is there?")).to_be_visible()
    expect(page.get_by_text("An answer without an end")).to_be_visible()

    assert site.house.client.delete(f"/api/v1/links/{made['id']}", headers=headers).status_code == 200
    ask(page, "Still there?")
    expect(page.get_by_role("alert")).to_have_text(re.compile("no longer valid"))
    expect(page.get_by_label("Your message")).to_have_value("Still there?")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.reload()
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    assert [line for line in problems if "404" not in line] == []  # no script or style was refused by the policy
