"""Datasets in a real browser: a file is sent and checked, its rows are searched and read, strangers find nothing."""

import json
import re

from playwright.sync_api import Page, expect

from models.domain.access import Role
from tests.browser import PHONE, Site, chromium, site
from tests.house import ROWS
from tests.light_worker import do_waiting
from webapp.actions.ensure_samples import ensure_samples

__all__ = ["chromium", "site"]

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
LONG = "A long answer. " * 400


def line(question: str, answer: str) -> bytes:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}).encode()


def table(page: Page):
    return page.locator("[data-live='datasets'] tbody tr")


def fits(page: Page) -> bool:
    """Nothing is wider than the window."""
    return page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")


def send(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("[data-upload] input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/json", "buffer": data} for name, data in files]
    )


def test_a_file_is_sent_with_progress_and_its_check_appears_by_itself(site: Site):
    house, anna = site.house, site.person()
    ensure_samples(house.deps)
    page = site.page(anna, "/datasets")
    expect(page.get_by_text("Your team has no dataset of its own yet.")).to_be_visible()
    expect(table(page)).to_have_count(3)

    # what cannot be rows is refused before it is sent, in words
    send(page, ("rows.xlsx", b"a,b"), ("empty.jsonl", b""))
    expect(page.get_by_text('"rows.xlsx" does not end in ')).to_be_visible()
    expect(page.get_by_text('"empty.jsonl" is empty')).to_be_visible()
    page.get_by_role("button", name="Dismiss").first.click()

    # several at once go one after another; one is stopped half-way
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    network.send("Network.emulateNetworkConditions", slow)
    send(page, ("first.jsonl", ROWS * 20_000), ("second.jsonl", ROWS * 12))
    page.get_by_role("dialog").get_by_role("button", name="A dataset each").click()
    first = page.locator(".tr-upload", has_text="first.jsonl")
    expect(first.locator(".tr-hint")).to_have_text(re.compile(r"of 1\.9 MB · \d+ kB/s · \d+ s left"))
    expect(page.locator(".tr-upload", has_text="second.jsonl")).to_contain_text("waiting")
    assert int(first.get_by_role("progressbar").get_attribute("aria-valuenow") or 0) < 100
    first.get_by_role("button", name="Cancel").click()
    expect(first).to_have_count(0)
    network.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})

    row = table(page).filter(has_text="second.jsonl")
    expect(row).to_contain_text("waiting to be checked")
    expect(table(page)).to_have_count(4)  # and no first.jsonl
    expect(row.get_by_role("link", name="Train on this")).to_have_count(0)
    files = house.client.get("/v1/files", headers=anna.headers).json()["data"]
    file = next(each for each in files if each["filename"] == "second.jsonl")
    do_waiting(house)
    expect(row).to_contain_text("ready")
    expect(row.get_by_role("link", name="Train on this")).to_have_attribute("href", f"/train?file={file['id']}")

    # the server's own refusal stands beside the zone
    page.route(
        "**/v1/files", lambda route: route.fulfill(status=413, json={"error": {"message": "Too large: split it."}})
    )
    send(page, ("third.jsonl", ROWS))
    expect(page.get_by_role("alert").filter(has_text="Too large: split it.")).to_be_visible()
    page.unroute("**/v1/files")

    # the search is in the address and survives a reload
    page.get_by_placeholder("Search name, format, person").fill("larkspur")
    expect(table(page)).to_have_count(2)
    assert "q=larkspur" in page.url
    page.reload()
    expect(page.get_by_placeholder("Search name, format, person")).to_have_value("larkspur")
    expect(table(page)).to_have_count(2)
    page.get_by_placeholder("Search name, format, person").fill("no such thing")
    page.get_by_role("button", name="Show all datasets").click()
    expect(table(page)).to_have_count(4)


def test_a_dataset_shows_its_rows_report_versions_and_runs(site: Site):
    house, anna = site.house, site.person()
    rows = [line(f"Question {number}?", f"Answer {number}.") for number in range(1, 61)]
    rows[2], rows[4] = line(HOSTILE, LONG), b"not json " + HOSTILE.encode()
    dataset = house.upload(anna, f"{HOSTILE}.jsonl".replace("/", "|"), b"\n".join(rows)).json()["tuneroom"]["dataset"]
    do_waiting(house)
    page = site.page(anna, f"/dataset?id={dataset}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    expect(page.get_by_text("rows 1 to 20 of 60")).to_be_visible()
    expect(page.locator("tr", has_text="left out")).to_contain_text("not json <img")

    page.get_by_role("button", name="Later").click()
    expect(page.get_by_text("rows 21 to 40 of 60")).to_be_visible()
    assert "from=21" in page.url
    page.get_by_placeholder("Search what the rows say").fill("answer 59")
    expect(page.locator(".tr-data-rows tbody tr")).to_have_count(1)
    assert "from" not in page.url

    # a row opens in full, has an address, and long texts wait behind "show all"
    page.get_by_placeholder("Search what the rows say").fill("long answer")
    found = page.locator(".tr-data-rows tbody tr")
    expect(found).to_contain_text("A long answer.")
    found.click()
    expect(page.get_by_text("Row 3", exact=True)).to_be_visible()
    said = page.locator(".tr-data-said-assistant")
    expect(said).to_be_visible()
    page.get_by_text("Show all 6,000 characters").click()
    assert "".join(said.locator(".tr-data-words").text_content().split()).count("Alonganswer.") >= 399
    page.goto(page.url)
    expect(page.get_by_text("Row 3", exact=True)).to_be_visible()

    # the report leads to the rows it names
    page.get_by_role("button", name=re.compile("^Report")).click()
    expect(page.get_by_role("heading", name=re.compile("Not JSON"))).to_be_visible()
    page.locator(".tr-data-problem").get_by_role("link", name="Row 5").click()
    expect(page.get_by_text("This row is left out")).to_be_visible()
    expect(page.locator(".tr-pre")).to_contain_text("not json <img")

    # a version is added, appears, and is looked at
    page.get_by_role("button", name=re.compile("^Versions")).click()
    send(page, ("better.jsonl", b"\n".join(rows[:2])))
    expect(page.locator(".tr-data-versions tbody tr")).to_have_count(2)
    expect(page.get_by_text("waiting to be checked").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).first.click()
    assert download.value.path().read_bytes() == b"\n".join(rows[:2])
    page.get_by_role("button", name=re.compile("^Used by")).click()
    expect(page.get_by_text("No run of your team has used this dataset yet.")).to_be_visible()
    assert page.evaluate("window.hacked") is None

    # on a phone nothing is cut off; a member who did not make it cannot delete it; strangers find nothing
    bert, eve = site.person(), site.person(Role.OWNER, house.team("others"))
    phone = site.page(bert, f"/dataset?id={dataset}&v=1", viewport=PHONE)
    expect(phone.get_by_text("This is version 1; the newest is 2.")).to_be_visible()
    expect(phone.get_by_role("button", name="Delete")).to_have_count(0)
    assert fits(phone)
    stranger = site.page(eve, f"/dataset?id={dataset}")
    expect(stranger.get_by_text("was found in this team")).to_be_visible()
    stranger.goto(f"{site.url}/datasets")
    expect(stranger.get_by_text("There is none yet.")).to_be_visible()

    # deleting asks, naming the thing
    page.get_by_role("button", name="Delete").first.click()
    expect(page.get_by_role("dialog")).to_contain_text('Delete dataset "<img src=x')
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/datasets")
    expect(page.get_by_text("There is none yet.")).to_be_visible()
