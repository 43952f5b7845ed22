"""A sweep in a real browser: cloned from a run, started on the Train page, watched, and cancelled while it waits."""

import re

from playwright.sync_api import Page, expect

from models.db.store.system import SystemStore
from models.domain.access import Role
from models.domain.job import JobState, Lane, Phase
from models.domain.progress import Evaluated, PhaseBegan, StepDone
from tests.browser import Site, chromium, site
from tests.runs import Run

__all__ = ["chromium", "site"]


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option", name=option, exact=True).click()


def work(site: Site, held_out: float) -> None:
    """The next run of the queue, done."""
    with site.house.deps.database.write() as session:
        store = SystemStore(session)
        job = store.claim(Lane.JOBS, "worker-test", 600)
        assert job is not None
        said = [PhaseBegan(phase=Phase.TRAINING)]
        said += [
            StepDone(step=step, total_steps=9, epoch=1, loss_per_token=3 / step, grad_norm=1, learning_rate=1e-3,
                     trained_tokens=100, step_seconds=0.5)
            for step in range(1, 10)
        ]  # fmt: skip
        store.record(job.id, job.fence, [*said, Evaluated(step=9, loss_per_token=held_out, trained_tokens=9)])
        store.settle(job.id, job.fence, JobState.SUCCEEDED)


def test_a_run_is_cloned_into_a_sweep_that_says_what_is_chance(site: Site):
    house, anna = site.house, site.person()
    run = Run(house, anna, base=house.base("smollm2"), suffix="tone").claim().feed(range(1, 9), 8).succeed()
    page = site.page(anna, f"/run?id={run.id}")
    expect(page.get_by_text("What changed")).to_be_visible()
    page.get_by_role("link", name="Clone with one change").click()
    page.wait_for_url("**/train?from=*")
    clone = page.locator(".tr-clone")
    expect(clone).to_contain_text("A copy of tone. Nothing is changed yet.", timeout=20_000)
    clone.get_by_role("button", name="Rank").click()
    rank = page.get_by_label("Rank", exact=True)
    expect(rank).to_be_focused()
    rank.fill("32")
    expect(clone).to_contain_text("Changed: Rank 16 → 32.")
    expect(page.get_by_label("Name", exact=True)).to_have_value("")

    page.get_by_role("button", name=re.compile("Sweep: several runs")).click()
    note = page.locator(".tr-sweep-note")
    choose(page, "Setting", "Rank · Adapter")
    values = page.locator(".tr-sweep-slot").get_by_label("Values")
    values.nth(0).fill("8, 9999")
    expect(note).to_contain_text("Run 2 (rank 9999)")
    values.nth(0).fill("8, 16")
    expect(note).to_contain_text("2 runs")
    choose(page, "and", "Seed · Schedule")
    values.nth(1).fill("1, 2")
    expect(note).to_contain_text("4 runs")
    page.get_by_role("button", name="Start 4 runs").click()
    page.wait_for_url("**/sweep?id=sweep-*")
    expect(page.locator("tbody tr")).to_have_count(4)

    for held_out in (1.0, 1.2, 1.25):
        work(site, held_out)
    expect(page.locator(".tr-head")).to_contain_text("3 done")
    expect(page.locator(".tr-overlay")).to_be_visible()
    third = page.locator("[data-key=table] tbody tr").nth(2)
    expect(third).to_have_class("tr-chance")
    settings = page.locator("[data-key=settings] tbody tr")
    expect(settings).to_have_count(2)
    expect(settings.first).to_contain_text(re.compile(r"1\.1\s+0\.2"))
    expect(settings.nth(1)).to_contain_text("+0.15 may be chance")
    expect(page.get_by_text("Runs that differ by seed alone lie up to 0.2 apart.")).to_be_visible()
    page.get_by_role("button", name="Held-out loss").click()
    assert "line=held-out" in page.url
    viewer = site.page(site.person(Role.VIEWER), page.url.removeprefix(site.url))
    expect(viewer.locator("[data-key=table] tbody tr")).to_have_count(4)
    expect(viewer.get_by_role("button", name="Cancel all waiting")).to_be_hidden()
    page.get_by_role("button", name="Cancel all waiting").click()
    page.get_by_role("button", name="Cancel 1 run").click()
    expect(page.locator(".tr-head")).to_contain_text("1 cancelled")
    page.get_by_role("link", name="Compare settings").click()
    expect(page.get_by_role("heading", name="Compare 4 runs")).to_be_visible()
    expect(page.locator(".tr-differ")).to_contain_text("Seed")
    expect(page.locator(".tr-differ")).not_to_contain_text("Epochs")
