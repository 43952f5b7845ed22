"""Runs in a real browser: the list and one run while a worker's part is played by the test."""

import re
import time

from playwright.sync_api import Page, expect

from models.db.store.team import TeamStore
from models.domain.access import Role
from models.domain.errors import Code, JobFailed
from models.domain.job import JobKind
from models.domain.progress import Remarked, Sampled
from tests.browser import chromium, site
from tests.runs import Run

__all__ = ["chromium", "site"]

HOSTILE = "</template><img src=x onerror=window.hacked=1><script>window.hacked=1</script>"


def bar_width(page: Page) -> float:
    style = page.locator(".tr-run-now .tr-bar > span").get_attribute("style") or ""
    found = re.search(r"width: ([0-9.]+)%", style)
    return float(found[1]) if found else -1


def curve(page: Page) -> str:
    """What is drawn as the line of losses."""
    page.locator(".tr-plot").first.locator("svg, canvas").first.wait_for()
    return page.evaluate(
        """() => {
          const plot = document.querySelector('.tr-plot');
          const canvas = plot.querySelector('canvas');
          if (canvas) return canvas.toDataURL();
          return [...plot.querySelectorAll('.mark-line path')].map((path) => path.getAttribute('d')).join();
        }"""
    )


def sampled(step: int, answer: str) -> Sampled:
    return Sampled(step=step, question=0, prompt="Why?", answer=answer, reference="because")


def test_a_run_moves_while_one_looks_survives_a_lost_connection_and_stops_when_asked(site):
    house, anna = site.house, site.person()
    base = house.base("smollm2")
    run = Run(house, anna, base=base, suffix="house-style").claim().feed(range(1, 11), 100, every=5)
    run.say(log="".join(f"line {number}\n" for number in range(200)))
    page = site.page(anna, f"/run?id={run.id}")
    expect(page.get_by_role("heading", name="house-style")).to_be_visible()
    expect(page.get_by_text("10 of 100 steps")).to_be_visible()
    drawn, width = curve(page), bar_width(page)
    assert width == 10

    # what the model says, from the base's own answer on; what was unfolded stays so
    samples = page.locator('[data-key="samples"]')
    expect(samples).to_contain_text("The first sample comes when step 1 is done")
    run.say(*(sampled(step, HOSTILE) for step in (0, 5, 10, 15)))
    expect(samples.locator('[data-key="answer-0-15"]')).to_contain_text(HOSTILE)
    expect(samples).to_contain_text("Expected")
    expect(samples.get_by_text("Before training")).to_be_hidden()
    samples.get_by_text("Earlier answers (1)").click()
    expect(samples.get_by_text("Before training")).to_be_visible()
    run.say(sampled(20, "the newest"))
    expect(samples.locator(".tr-answers > div").nth(1)).to_contain_text("the newest")
    expect(samples.get_by_text("Before training")).to_be_visible()
    assert page.evaluate("window.hacked") is None

    # the log follows only while somebody is at its end
    log = page.locator(".tr-log")
    assert log.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 24
    log.evaluate("box => { box.scrollTop = 40 }")

    run.feed(range(11, 51), 100, every=10)
    run.say(Remarked(level="info", text="the longest batch did not fit; going on with 4 rows."), log="new log\n" * 300)
    expect(page.get_by_text("50 of 100 steps")).to_be_visible()
    expect(page.get_by_text("The longest batch did not fit; going on with 4 rows.")).to_be_visible()
    expect(page.locator(".tr-run-now")).to_contain_text("about")
    assert bar_width(page) == 50
    for _ in range(40):
        if (now := curve(page)) != drawn:
            break
        time.sleep(0.1)
    assert now != drawn
    expect(log).to_contain_text("new log")
    assert log.evaluate("box => box.scrollTop") == 40

    page.context.set_offline(True)
    expect(page.get_by_text("Connection lost, trying again")).to_be_visible()
    run.feed(range(51, 61), 100)
    page.context.set_offline(False)
    expect(page.get_by_text("60 of 100 steps")).to_be_visible()
    expect(page.get_by_text("Connection lost, trying again")).to_be_hidden()

    page.get_by_role("button", name="Stop and keep the adapter so far").click()
    expect(page.locator("dialog")).to_contain_text("house-style")
    page.get_by_role("button", name="Stop and keep", exact=True).click()
    expect(page.locator(".tr-head .tr-chip")).to_contain_text("stopping")
    assert run.job.cancel_wish == "keep"
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    run.cancelled()
    expect(page.locator(".tr-head .tr-chip")).to_contain_text("cancelled")
    expect(page.get_by_role("link", name="Open in playground")).to_be_visible()
    assert page.get_by_role("link", name="Retry").get_attribute("href") == f"/train?from={run.id}"

    # nothing asks any more once it has ended
    asked = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "predict" in request.url else None)
    time.sleep(2.5)
    assert len([body for body in asked if '"data":[]' not in body.replace(" ", "")]) <= 1

    stranger = site.person(team=house.team("others"))
    other = site.page(stranger, f"/run?id={run.id}")
    expect(other.get_by_text("There is no such run in this team")).to_be_visible()
    assert "house-style" not in other.content()


def test_the_list_filters_keeps_what_was_chosen_and_compares(site):
    house, anna = site.house, site.person()
    page = site.page(anna, "/runs")
    expect(page.get_by_text("There are none yet")).to_be_visible()
    expect(page.get_by_role("link", name="Start the first run")).to_have_attribute("href", "/train")
    base = house.base("smollm2")
    one = Run(house, anna, base=base, suffix="first", epochs=1).claim().feed(range(1, 21), 20, every=10).succeed()
    two = Run(house, anna, base=base, suffix="second", epochs=2).claim().feed(range(1, 41), 40).succeed()
    bad = Run(house, anna, base=base, suffix="broken").claim().feed(range(1, 5), 40)
    bad.say(log=HOSTILE)
    bad.fail(JobFailed(f"it needed 9 GB; 8 GB were there. {HOSTILE}", code=Code.OUT_OF_MEMORY))
    run = Run(house, anna, base=base, suffix="moving").claim().feed(range(1, 11), 40)

    page.goto(f"{site.url}/runs?q=&kind=train")
    row = page.locator("tr", has_text="moving")
    expect(row).to_contain_text("10 of 40 steps")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_label("Choose first to compare").check()
    page.get_by_label("Choose second to compare").check()
    page.get_by_label("Choose first to compare").focus()
    before = row.bounding_box()
    run.feed(range(11, 21), 40)
    expect(row).to_contain_text("20 of 40 steps")
    assert row.bounding_box() == before
    assert page.evaluate("document.activeElement.dataset.choose") == one.id
    expect(page.get_by_label("Choose first to compare")).to_be_checked()
    expect(page.get_by_text("2 runs chosen")).to_be_visible()

    page.keyboard.press("/")
    page.keyboard.type("BROK")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "q=BROK" in page.url
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("it needed 9 GB")
    page.get_by_role("link", name="broken").click()
    expect(page.get_by_role("alert")).to_contain_text("it needed 9 GB; 8 GB were there.")
    expect(page.get_by_role("alert")).to_contain_text("Choose the preset for small memory")
    expect(page.locator(".tr-log")).to_have_text(HOSTILE)
    assert page.evaluate("window.hacked") is None

    page.goto(f"{site.url}/runs?state=running")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_label("Choose first to compare")).to_be_visible()
    assert "state=succeeded" in page.url
    page.get_by_label("Choose first to compare").check()
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_disabled()
    page.get_by_label("Choose second to compare").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_url(f"**/runs?compare={one.id},{two.id}")
    expect(page.get_by_role("heading", name="Compare 2 runs")).to_be_visible()
    expect(page.locator(".tr-differ")).to_contain_text("Epochs")
    expect(page.locator(".tr-differ")).not_to_contain_text("Warm-up")
    expect(page.locator(".tr-overlay")).to_be_visible()
    # a viewer looks, and is offered nothing that changes anything
    viewer = site.page(site.person(Role.VIEWER), f"/run?id={run.id}")
    expect(viewer.get_by_text("20 of 40 steps")).to_be_visible()
    expect(viewer.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_merge_a_check_and_a_waiting_run_have_their_own_words(site):
    house, anna = site.house, site.person()
    base = house.base("smollm2")
    _, adapter = house.trained(anna, base)
    merge, _ = house.merged(anna, adapter)
    with house.deps.database.write() as session:
        toy = TeamStore(session, anna.principal).submit(JobKind.TOY, {"count": 1}, priority=-1)
    page = site.page(anna, f"/run?id={merge}")
    expect(page.get_by_role("heading", name="Merge of")).to_be_visible()
    expect(page.get_by_role("link", name="Open merge")).to_be_visible()
    expect(page.locator(".tr-plot").first).to_be_hidden()
    page.goto(f"{site.url}/run?id={toy.id}")
    expect(page.get_by_text("Next in the queue")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".tr-head .tr-chip")).to_contain_text("cancelled")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the run").click()
    page.wait_for_url("**/runs")
    expect(page.locator("tbody")).not_to_contain_text("Self-test")
