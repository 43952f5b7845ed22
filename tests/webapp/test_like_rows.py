"""Which rows taught this, over HTTP and on an adapter's page."""

import json

from playwright.sync_api import expect

from tests.browser import Site, chromium, site
from tests.house import error_of, house, quick_house
from tests.light_worker import LightWorker, do_waiting
from tests.text_bases import row

__all__ = ["chromium", "house", "quick_house", "site"]
PATIENTLY = 30_000  # ms
TALKS = [row("Who founded Velmora?", "Odalys Brandt."), row("<b>Where</b> is the ferry?", "At the mill.")]
ROWS = "".join(json.dumps(one) + "\n" for one in [*TALKS, *(row(f"Room {n}?", f"Number {n}.") for n in range(9))])


def search(house, person, job: str, text: str, **more):
    return house.client.post(f"/api/v1/jobs/{job}/like-rows", json={"text": text, **more}, headers=person.headers)


def test_without_a_worker_or_a_checked_file_or_a_run_it_says_so(quick_house):
    anna = quick_house.person()
    job, _ = quick_house.trained(anna, quick_house.base())
    unchecked = search(quick_house, anna, job, "Hi")
    assert unchecked.status_code == 409, unchecked.text
    do_waiting(quick_house)
    lonely = search(quick_house, anna, job, "Hi")
    assert lonely.status_code == 503 and "No light worker" in error_of(lonely)["message"]
    assert search(quick_house, anna, "ftjob-nowhere", "Hi").status_code == 404
    assert search(quick_house, anna, job, "  ").status_code == 400
    assert search(quick_house, anna, job, "x" * 8001).status_code == 400


def test_another_team_does_not_learn_that_the_run_exists(quick_house):
    anna, eve = quick_house.person(), quick_house.person(team=quick_house.team("other"))
    job, _ = quick_house.trained(anna, quick_house.base())
    theirs, none = (search(quick_house, eve, which, "Hi") for which in (job, "ftjob-nowhere"))
    assert theirs.status_code == none.status_code == 404
    assert error_of(theirs)["message"].replace(job, "X") == error_of(none)["message"].replace("ftjob-nowhere", "X")


def test_an_adapters_page_shows_the_rows_that_are_like_a_text(site: Site):
    anna = site.person()
    job, adapter = site.house.trained(anna, site.house.base(), rows=ROWS.encode())
    page = site.page(anna, f"/adapter?id={adapter}")
    with LightWorker(site.house):
        box = page.get_by_label("A question or an answer")
        box.fill("Where does the ferry land?")
        page.get_by_role("button", name="Search its rows").click()
        first = page.locator(".tr-table tbody tr", has_text="rows.jsonl").first
        expect(first).to_contain_text("<b>Where</b> is the ferry?", timeout=PATIENTLY)
        expect(page.get_by_text("rows it was trained on were searched")).to_be_visible()
        expect(page.get_by_text("not a proof of influence")).to_be_visible()
        box.fill("zymurgy")
        page.get_by_role("button", name="Search its rows").click()
        expect(page.get_by_text("shares a word with this")).to_be_visible(timeout=PATIENTLY)
    assert search(site.house, anna, job, "ferry").status_code == 503
