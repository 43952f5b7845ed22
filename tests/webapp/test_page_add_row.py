"""An answer of the Playground becomes a row of a dataset: in a real browser, with a real worker of the lane `light`."""

import pytest

from models.domain.access import Role
from models.domain.chat import Delta
from tests.browser import PHONE, chromium, site
from tests.harness import wait_for
from tests.light_worker import LightWorker
from tests.webapp.scripted_worker import DONE
from tests.webapp.test_page_playground import PAYLOADS, ask, ended, worker
from webapp.routes.cookie import NAME

__all__ = ["chromium", "site", "worker"]

ADD, DIALOG = ".tr-pg-notes button:text-is('Add to dataset')", "dialog.tr-add"
ANSWER = f"{DIALOG} textarea"


@pytest.fixture
def light(site):
    with LightWorker(site.house) as started:
        yield started


@pytest.fixture
def talked(site, worker):
    """Somebody who has asked twice, under a system prompt; the page, with the dialog of the last answer open."""
    site.house.base("tiny")

    def talk(person, answer="I am tiny.", **options):
        worker.script = (Delta(text=answer), DONE)
        page = site.page(person, "/playground", **options)
        page.wait_for_selector(".tr-pg-pane")
        page.click("[data-pg=open-settings]")
        page.fill("[name=system]", "Be brief.")
        page.keyboard.press("Escape")
        for number, prompt in enumerate(("Who are you?", "Really?"), start=1):
            ask(page, prompt)
            ended(page)
            page.wait_for_function(f"document.querySelectorAll('.tr-pg-copy[data-copy]').length === {number}")
        return page

    return talk


def dialog_of(page):
    page.locator(ADD).last.click()
    page.wait_for_selector(f"{DIALOG} select:not([disabled])")
    return page.locator(DIALOG)


def rows_of(site, person, dataset: str) -> list[dict]:
    return site.house.client.get(f"/api/v1/datasets/{dataset}/rows", headers=person.headers).json()["data"]


def versions_of(site, person, dataset: str) -> list[dict]:
    return site.house.client.get(f"/api/v1/datasets/{dataset}", headers=person.headers).json()["versions"]


def test_a_corrected_answer_becomes_a_row_of_the_next_version_with_the_talk_before_it(site, worker, light, talked):
    anna = site.person()
    dataset = site.house.upload(anna, "house style.jsonl").json()["tuneroom"]["dataset"]
    page = talked(anna)
    dialog = dialog_of(page)
    assert dialog.locator(".tr-add-said strong").all_inner_texts() == [
        "System", "User", "Assistant (context, not learned)", "User",
    ]  # fmt: skip
    assert page.input_value(ANSWER) == "I am tiny."
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    dialog.locator("button:text-is('Save as a new version of house style.jsonl')").wait_for()
    page.fill(ANSWER, "I am small.")
    page.keyboard.press("Control+Enter")
    dialog.locator("text=Saved as version 2 of house style.jsonl.").wait_for()
    assert dialog.locator("a").get_attribute("href") == f"/dataset?id={dataset}&v=2"
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.keyboard.press("Enter")
    assert page.locator(DIALOG).count() == 0
    assert page.locator(".tr-pg-added").inner_text() == "added to house style.jsonl"
    assert page.evaluate("document.activeElement.textContent") == "Add to dataset"
    newest = versions_of(site, anna, dataset)[0]["tuneroom"]
    assert newest["note"] == "From the Playground: an answer of tiny, corrected"
    wait_for(lambda: rows_of(site, anna, dataset)[1:], 10)
    said = rows_of(site, anna, dataset)[-1]["example"]["turns"]
    assert [(turn["role"], turn["content"], turn.get("weight", 1)) for turn in said] == [
        ("system", "Be brief.", 1), ("user", "Who are you?", 1), ("assistant", "I am tiny.", 0),
        ("user", "Really?", 1), ("assistant", "I am small.", 1),
    ]  # fmt: skip


def test_a_first_answer_makes_a_dataset_of_its_own_and_a_refusal_loses_nothing_typed(site, worker, talked):
    anna = site.person()
    page = talked(anna)
    dialog = dialog_of(page)
    page.fill(ANSWER, "  ")
    dialog.locator("button:text-is('Save as a new dataset')").click()
    dialog.locator("text=The answer is empty").wait_for()
    page.fill(ANSWER, "I am <b>small</b>.")
    page.keyboard.press("Control+Enter")
    dialog.locator("text=has no name").wait_for()
    assert page.evaluate("document.activeElement.placeholder") == "support-answers"
    page.keyboard.press("Escape")  # what was typed comes back
    page.wait_for_selector(DIALOG, state="detached")
    dialog = dialog_of(page)
    assert page.input_value(ANSWER) == "I am <b>small</b>."
    page.context.clear_cookies()
    page.fill(f"{DIALOG} input", "liked")
    page.keyboard.press("Enter")
    dialog.locator("text=You are signed out").wait_for()
    assert (page.input_value(ANSWER), page.input_value(f"{DIALOG} input")) == ("I am <b>small</b>.", "liked")
    page.context.add_cookies([{"name": NAME, "value": site.token(anna), "url": site.url}])
    page.keyboard.press("Control+Enter")
    dialog.locator("text=Saved as the new dataset liked").wait_for()
    (made,) = [
        each
        for each in site.house.client.get("/api/v1/datasets", headers=anna.headers).json()["data"]
        if not each["is_sample"]
    ]
    assert made["name"].startswith("liked") and made["newest"]["tuneroom"]["reading"]["format"] == "messages"


def test_who_may_add_nothing_sees_no_button_and_only_what_may_be_changed_is_offered(site, worker, talked):
    anna, ben = site.person(), site.person()
    site.house.upload(ben, "of ben.jsonl")
    mine = site.house.upload(anna, f"{PAYLOADS[1]}.jsonl".replace("/", "")).json()["tuneroom"]["dataset"]
    page = talked(anna, answer=PAYLOADS[1], viewport=PHONE)
    dialog = dialog_of(page)
    assert dialog.locator("option").evaluate_all("all => all.map(each => each.value)") == [mine, ""]
    assert dialog.locator("img, script").count() == 0 and page.evaluate("window.hurt") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = dialog.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    viewer = talked(site.person(Role.VIEWER))
    assert viewer.locator(".tr-pg-copy:text-is('Copy')").count() == 2
    assert viewer.locator(ADD).count() == 0
