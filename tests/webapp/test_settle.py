"""`settle.js`: a burst of changes is one question, there is never a second one under way, and what changed is asked."""

from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser import chromium
from webapp.pages.told import what_changed

__all__ = ["chromium"]
SCRIPTS = Path(__file__).parents[2] / "webapp" / "static"


def opened(chromium: Browser) -> Page:
    page = chromium.new_page()
    page.set_content("<div id='look'><button>look</button></div>")
    for name in ("parts.js", "settle.js"):
        page.add_script_tag(path=SCRIPTS / name)
    page.evaluate("window.asked = 0; document.querySelector('button').onclick = () => { window.asked++; }; null")
    return page


def test_a_burst_is_asked_once_and_what_changes_meanwhile_once_more_when_the_answer_is_there(chromium):
    page = opened(chromium)
    settle, settled = "tuneroomSettle('#look')", "tuneroomSettled('#look')"
    page.evaluate(f"for (let i = 0; i < 30; i++) {settle}")
    page.wait_for_function("window.asked === 1")
    page.evaluate(f"for (let i = 0; i < 30; i++) {settle}")
    page.wait_for_timeout(200)
    assert page.evaluate("window.asked") == 1  # the first answer is under way
    page.evaluate(settled)
    assert page.evaluate("window.asked") == 2
    page.evaluate(settled)
    page.wait_for_timeout(200)
    assert page.evaluate("window.asked") == 2
    page.evaluate(settle)
    page.wait_for_function("window.asked === 3")


def test_an_answer_that_never_came_does_not_keep_the_page_silent(chromium):
    page = opened(chromium)
    page.clock.install()
    page.evaluate("tuneroomSettle('#look')")
    page.clock.run_for(1000)
    assert page.evaluate("window.asked") == 1
    page.clock.run_for(11_000)
    page.evaluate("tuneroomSettle('#look')")
    page.clock.run_for(1000)
    assert page.evaluate("window.asked") == 2


def test_only_what_changed_is_sent():
    first, sent = what_changed(None, ["a", {"value": 1}, "c"])
    assert sent == ["a", {"value": 1}, "c"]
    again, sent = what_changed(first, ["a", {"value": 1}, "d"])
    assert [part for part in sent if isinstance(part, str)] == ["d"] and again != first
    _, sent = what_changed(again, ["a", {"value": 1}, "d"], always=[0])
    assert [part for part in sent if isinstance(part, str)] == ["a"]
    assert what_changed(first, ["x"])[1] == ["x"]  # another version of the page
