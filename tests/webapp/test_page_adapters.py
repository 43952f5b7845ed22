"""Adapters in a real browser: the list; a page with chat, merge, links and card; for a viewer and another team."""

import re

import pytest
from playwright.sync_api import Page, expect

from models.db.store.artefacts import NewMerge
from models.db.store.system import SystemStore
from models.db.tables import Adapter, Job, Link, Worker, db_now
from models.domain.access import Role
from models.domain.chat import Delta
from models.domain.errors import JobFailed
from models.domain.ids import new_id
from models.domain.job import JobState, Lane
from tests.browser import PHONE, Site, chromium, site
from tests.webapp.scripted_worker import DONE, ScriptedWorker

__all__ = ["chromium", "site"]

REPORT = {
    "mode": "full_precision",
    "storage": "bf16",
    "passed": True,
    "refusals": [],
    "arithmetic": {"merged_tensors": 210, "untouched_tensors": 62, "worst_ulp": 0.5, "worst_tensor": "x"},
    "logits": {
        "positions": 4096, "top1_agreement": 0.996, "mean_kl": 0.0002, "needed_top1": 0.99, "allowed_kl": 0.001,
    },
    "shift": {"verdict": "not_enough_data", "answer_tokens": 12},
}  # fmt: skip
REFUSED = REPORT | {"passed": False, "refusals": ["its top-1 agreement with the adapter is 0.5"]}
REFUSED["logits"] = REPORT["logits"] | {"top1_agreement": 0.5}
HOSTILE = '<img src=x onerror="window.hit=1">'


@pytest.fixture
def worker(site: Site):
    row = Worker(id=new_id("worker"), host="h", pid=1, lane="chat", device="cpu", slots=1, seen_at=db_now(600))
    with site.house.deps.database.write() as session:
        SystemStore(session).worker_started(row)
    started = ScriptedWorker(site.house.deps.settings)
    yield started
    started.close()


def claim_merge(site: Site, **progress) -> Job:
    """The merge that waits, claimed, with how far it is."""
    with site.house.deps.database.write() as session:
        while (job := SystemStore(session).claim(Lane.JOBS, "worker-test", 600)) is not None and job.kind != "merge":
            pass
        assert job is not None
        for name, value in progress.items():
            setattr(job, name, value)
        return job


def settle(site: Site, job: Job, state: JobState, **how) -> None:
    with site.house.deps.database.write() as session:
        SystemStore(session).settle(job.id, job.fence, state, **how)


def rename(site: Site, adapter_id: str, name: str, **values) -> None:
    with site.house.deps.database.write() as session:
        row = session.get_one(Adapter, adapter_id)
        row.name = name
        for key, value in values.items():
            setattr(row, key, value)


def open_page(site: Site, person, path: str, **options) -> Page:
    page = site.page(person, path, **options)
    page.wait_for_selector("[data-live][data-filled]")
    return page


def test_the_list_says_what_there_is_and_finds_it_by_words_page_by_page(site: Site):
    anna = site.person(Role.OWNER)
    page = open_page(site, anna, "/adapters")
    expect(page.get_by_text("An adapter is what a training leaves behind")).to_be_visible()
    expect(page.get_by_role("link", name="Start the first run")).to_have_attribute("href", "/train")

    base = site.house.base()
    made = [site.house.trained(anna, base)[1] for _ in range(22)]
    rename(site, made[0], "ft:tiny:default:larkspur:aaaa", is_partial=True)
    merge = site.house.merged(anna, made[0])[1]
    stranger = site.person(team=site.house.team("others"))
    site.house.trained(stranger, base)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(20)
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("link", name="larkspur")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert "page=2" in page.url
    row = page.locator("tbody tr", has_text="larkspur")
    expect(row).to_contain_text("rank 4")
    expect(row).to_contain_text(re.compile(r"2\s*→\s*1"))
    expect(row).to_contain_text("partial")

    page.get_by_label("Search adapters and merges").fill("lark TINY")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "q=lark+TINY" in page.url or "q=lark%20TINY" in page.url
    page.reload()  # the address is the state
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Merges 1").click()
    page.get_by_role("link", name="larkspur merged").click()
    expect(page.get_by_role("heading", name=re.compile("larkspur merged"))).to_be_visible()
    assert page.url.endswith(f"/adapter?id={merge}")
    expect(page.get_by_role("link", name="Download")).to_have_attribute("href", f"/api/v1/merges/{merge}/download")

    for path in ("/adapters", f"/adapter?id={made[0]}", f"/adapter?id={merge}"):
        small = open_page(site, anna, path, viewport=PHONE)
        small.wait_for_timeout(300)
        assert small.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_an_adapters_page_answers_merges_shares_and_is_deleted(site: Site, worker: ScriptedWorker):
    anna = site.person(Role.OWNER)
    job, adapter = site.house.trained(anna, site.house.base())
    rename(site, adapter, f"ft:tiny:default:{HOSTILE}:aaaa", card=f"# Larkspur\n\nGood at **hours**. {HOSTILE}")
    page = open_page(site, anna, f"/adapter?id={adapter}")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    expect(page.get_by_role("link", name="rows.jsonl v1")).to_have_attribute("href", re.compile("/dataset"))
    expect(page.locator(f'a[href="/run?id={job}"]')).to_be_visible()
    expect(page.get_by_text("the base held in 4 bits")).to_be_visible()
    expect(page.locator("#adapter-code")).to_contain_text(f'base_url="{site.url}/v1"')
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{adapter}.zip"

    # chat: the focus is not stolen from who went on elsewhere
    worker.script = (Delta(text=f"Bonjour {HOSTILE}"), DONE)
    page.get_by_label("Your message").fill("Hi")
    page.get_by_label("Your message").press("Enter")
    page.get_by_label("One sentence").focus()
    expect(page.locator(".tr-turn-model")).to_have_text(re.compile("Bonjour <img"))
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_label("One sentence")).to_be_focused()
    assert worker.requests[0].model.adapter is not None

    # a link: refused beside its field, what was typed stays; then made, shown once, revoked
    page.get_by_label("Title").fill("Guide")
    page.get_by_label("Days").fill("400")
    page.get_by_role("button", name="Create the link").click()
    expect(page.get_by_role("alert").filter(has_text="1 to 90")).to_be_visible()
    expect(page.get_by_label("Title")).to_have_value("Guide")
    page.get_by_label("Days").fill("3")
    page.get_by_role("button", name="Create the link").click()
    url = page.locator("#made-link").text_content() or ""
    assert url.startswith(f"{site.url}/s/")
    expect(page.get_by_role("alert").filter(has_text="1 to 90")).to_have_count(0)
    visitor = site.page(None, url.removeprefix(site.url))
    expect(visitor.get_by_role("heading", name="Guide")).to_be_visible()
    page.reload()
    expect(page.locator(".tr-link-list")).to_contain_text("Guide")
    assert url.rsplit("/", 1)[1] not in page.content()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("None. Nobody without an account")).to_be_visible()
    visitor.reload()
    expect(visitor.get_by_text("no longer valid")).to_be_visible()

    # a merge: its bar moves; refused with its report, then published
    page.get_by_role("button", name="Start the merge").click()
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    expect(page.get_by_role("button", name="Start the merge")).to_be_disabled()
    claimed = claim_merge(site, phase="merging", done=50, total=200)
    expect(page.get_by_role("progressbar", name="Progress of the merge")).to_have_attribute("aria-valuenow", "25")
    settle(site, claimed, JobState.FAILED, error=JobFailed("The merge was refused.", report=REFUSED))
    expect(page.locator(".tr-merge-job")).to_contain_text("top-1 agreement with the adapter is 0.5")
    expect(page.locator(".tr-fails")).to_contain_text("It answers like base and adapter")
    page.get_by_label("fp32: exact").check()
    page.get_by_role("button", name="Start the merge").click()
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    claimed = claim_merge(site)
    assert claimed.spec["storage"] == "fp32"
    tree = site.house._tree(f"team/{anna.principal.team}", {"model.safetensors": b"merged"})
    new = NewMerge(stored=tree, adapter_id=adapter, mode="full_precision", storage_dtype="fp32", report=REPORT)
    settle(site, claimed, JobState.SUCCEEDED, artefact=new)
    expect(page.get_by_text("Checked and published.")).to_be_visible()
    expect(page.locator(".tr-merge-job")).to_contain_text("12 held-out answer tokens, 2,000 were needed")
    expect(page.get_by_role("link", name="Open the merge")).to_have_attribute("href", re.compile("id=merge-"))

    # the card: Markdown of people is sanitised
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Card, in Markdown")).to_have_value(re.compile("# Larkspur"))
    page.get_by_label("Card, in Markdown").fill(f"## House rules\n\n{HOSTILE}<script>window.hit=1</script>")
    page.get_by_role("button", name="Save the card").click()
    expect(page.get_by_role("heading", name="House rules")).to_be_visible()
    assert page.evaluate("window.hit") is None

    # a viewer reads and chats; another team sees nothing
    seen = open_page(site, site.person(Role.VIEWER), f"/adapter?id={adapter}")
    expect(seen.get_by_role("heading", name="House rules")).to_be_visible()
    for name in ("Delete", "Edit", "Start the merge", "Create the link"):
        expect(seen.get_by_role("button", name=name, exact=True)).to_have_count(0)
    stranger = site.person(Role.OWNER, site.house.team("others"))
    expect(open_page(site, stranger, f"/adapter?id={adapter}").get_by_text("There is no such adapter")).to_be_visible()

    # deletion asks, naming the thing
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Delete adapter {HOSTILE}?")
    expect(dialog).to_contain_text("1 merge made from it stays")
    dialog.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/adapters")
    with site.house.deps.database.read() as session:
        assert session.get_one(Adapter, adapter).deleted_at is not None
        assert session.query(Link).filter(Link.revoked_at.is_(None)).count() == 0
    assert page.evaluate("window.hit") is None
