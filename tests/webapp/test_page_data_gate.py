"""The data gate in a real browser: a file is sent, mapped, reported on, seen as trained, mended, and trained on."""

import re
from pathlib import Path

from playwright.sync_api import FilePayload, Page, expect

from models.domain.access import Role
from tests.browser import PHONE, Site, chromium, site
from tests.furnished_data import reviews_csv, tickets
from tests.light_worker import LightWorker, do_waiting
from tests.text_bases import text_base

__all__ = ["chromium", "site"]
PATIENTLY = 30_000  # ms: what a worker does first, on a busy machine


def listened(page: Page) -> list[str]:
    """What the browser complains of from now on."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    return said


def tab(page: Page, name: str) -> None:
    page.locator(".tr-tabs").get_by_role("button", name=re.compile(f"^{name}")).click()


def tokens(page: Page, look: str) -> list[str]:
    return page.locator(f".tr-pv-text .{look}").all_text_contents()


def shown_row(page: Page) -> int:
    return int(page.locator(".tr-pv input[name=row]").input_value())


def fits(page: Page) -> bool:
    return page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")


def test_a_foreign_table_is_mapped_reported_on_seen_as_trained_and_trained_on(site: Site, tmp_path: Path):
    anna = site.person()
    site.house.base("tiny", text_base(tmp_path / "base", "chatml"))
    page = site.page(anna, "/datasets")
    said = listened(page)
    with LightWorker(site.house):
        table = FilePayload(name="reviews.csv", mimeType="text/csv", buffer=reviews_csv())
        page.locator("[data-upload] input[type=file]").set_input_files([table])
        row = page.locator("[data-live='datasets'] tbody tr", has_text="reviews.csv")
        row.get_by_text("cannot be used").click()

        # its columns are pointed to fields, with what comes of it beside them
        becomes = page.locator(".tr-map-row").first
        expect(page.get_by_label("Instruction")).to_have_value("customer_says", timeout=PATIENTLY)
        expect(becomes.locator(".tr-map-said").last).to_contain_text("assistant", timeout=PATIENTLY)
        page.get_by_label("Output").select_option("stars")
        expect(becomes.locator(".tr-map-said").last).to_have_text(re.compile(r"^assistant[1-4]$"), timeout=PATIENTLY)
        page.get_by_label("Output").select_option("")
        expect(becomes).to_contain_text("left out", timeout=PATIENTLY)
        page.get_by_label("Output").select_option("we_answered")
        expect(becomes).not_to_contain_text("left out", timeout=PATIENTLY)
        page.get_by_role("button", name="Use this mapping").click()

        # the report arrives by itself, stage after stage
        expect(page.get_by_text("60 conversations")).to_be_visible(timeout=PATIENTLY)
        expect(page.get_by_text("Every row can be trained on.")).to_be_visible(timeout=PATIENTLY)
        expect(page.get_by_text("Exact duplicates", exact=True)).to_be_visible(timeout=PATIENTLY)
        page.get_by_role("button", name="Count tokens").click()
        expect(page.locator("svg.tr-lengths")).to_be_visible(timeout=PATIENTLY)
        page.get_by_role("button", name=re.compile("^50 %")).click()
        page.get_by_role("button", name=re.compile("^100 %")).click()  # at once: no click is lost

        # a row as it is trained: the answer and its stop, nothing else
        tab(page, "Preview")
        expect(page.locator(".tr-pv-sequence")).to_be_visible(timeout=PATIENTLY)
        assert tokens(page, "tr-tok-special.tr-tok-on") == ["<|im_end|>"]
        assert "".join(tokens(page, "tr-tok-on")).startswith("The manual is on our page")
        assert "customer" not in "".join(tokens(page, "tr-tok-on"))
        page.keyboard.press("j")
        expect(page.locator(".tr-pv input[name=row]")).to_have_value("2")
        page.keyboard.press("k")
        expect(page.locator(".tr-pv input[name=row]")).to_have_value("1")
        page.get_by_role("button", name="the longest").click()
        expect(page.locator(".tr-pv input[name=row]")).not_to_have_value("1")
        assert f"row={shown_row(page)}" in page.url

        # too long for this length: where it ends, that it is left out, and how to allow it
        page.get_by_label("Longest row, tokens").fill("32")
        expect(page.locator(".tr-pv-cut")).to_have_text("longest row: 32 tokens")
        expect(page.get_by_text("Left out of training")).to_be_visible()
        assert "max=32" in page.url
        page.reload()
        expect(page.get_by_text("Left out of training")).to_be_visible()
        page.get_by_role("button", name=re.compile("^Allow")).click()
        expect(page.locator(".tr-pv-cut")).to_have_count(0)
        page.get_by_text("Show every token and its id").click()
        expect(page.locator(".tr-pv-ids .tr-pv-text .tr-tok").first).to_have_attribute("data-id", re.compile(r"^\d+$"))

    page.get_by_role("link", name="Train on this").click()
    page.wait_for_url("**/train?file=file-*")
    expect(page.get_by_text("60 usable rows")).to_be_visible(timeout=20_000)
    assert said == []


def test_a_row_is_mended_as_a_new_version_and_the_two_are_compared(site: Site):
    anna = site.person()
    dataset = site.house.upload(anna, "export.jsonl", tickets()).json()["tuneroom"]["dataset"]
    do_waiting(site.house)
    page = site.page(anna, f"/dataset?id={dataset}&row=67")
    said = listened(page)
    expect(page.get_by_text("This row is left out")).to_be_visible()
    page.get_by_role("button", name="Mend this row").click()
    texts = page.locator(".tr-ed textarea[name=content]")
    expect(texts.first).to_have_value("Hello?")
    texts.last.fill("Hello. <b>What</b> can I do for you?")
    page.get_by_text("Thinking and tool calls").last.click()
    page.locator(".tr-ed textarea[name=calls]").last.fill("[{")
    page.get_by_label("Note").fill("an answer for the greeting")
    page.get_by_role("button", name="Save as version 2").click()

    # a mistake is said beside it, and what was typed stays
    expect(page.get_by_text("The tool calls of turn 2 are no JSON")).to_be_visible()
    expect(texts.last).to_have_value("Hello. <b>What</b> can I do for you?")
    page.locator(".tr-ed textarea[name=calls]").last.fill("")
    page.route("**/edits", lambda route: route.fulfill(status=503, json={"error": {"message": "The queue is away."}}))
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_text("The queue is away.")).to_be_visible()
    expect(texts.last).to_have_value("Hello. <b>What</b> can I do for you?")
    page.unroute("**/edits")

    with LightWorker(site.house):
        page.get_by_role("button", name="Save as version 2").click()
        page.get_by_role("link", name="Open version 2").click()
        expect(page.locator(".tr-data-said-assistant")).to_contain_text(
            "Hello. <b>What</b> can I do for you?", timeout=PATIENTLY
        )
        tab(page, "Versions")
        expect(page.get_by_text("an answer for the greeting · from version 1")).to_be_visible()
        page.get_by_role("button", name="Compare", exact=True).click()
        expect(page.locator(".tr-cmp-sum")).to_contain_text("+ 1 added", timeout=PATIENTLY)
        expect(page.locator(".tr-cmp-text ins")).to_contain_text("<b>What</b>")
        page.locator(".tr-cmp select[name=after]").select_option(label="version 1")
        page.get_by_role("button", name="Compare", exact=True).click()
        expect(page.get_by_text("These are the same version.")).to_be_visible()
    assert [line for line in said if "503" not in line] == []


def test_several_files_become_one_dataset_or_one_each_as_somebody_says(site: Site):
    page = site.page(site.person(), "/datasets")
    half = tickets().splitlines(keepends=True)
    files = [
        FilePayload(name=name, mimeType="application/json", buffer=b"".join(rows))
        for name, rows in (("may.jsonl", half[:100]), ("june.jsonl", half[100:]))
    ]
    page.locator("[data-upload] input[type=file]").set_input_files(files)
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("You chose 2 files.")
    asked.get_by_role("button", name="Cancel").click()
    expect(page.locator(".tr-upload")).to_have_count(0)
    page.locator("[data-upload] input[type=file]").set_input_files(files)
    page.get_by_role("dialog").get_by_role("button", name="One dataset from all of them").click()
    rows = page.locator("[data-live='datasets'] tbody tr")
    expect(rows).to_have_count(1)
    do_waiting(site.house)
    expect(rows).to_contain_text("216 of 220")
    rows.get_by_text("4 rows left out").click()
    page.get_by_text("Which rows came from which file").click()
    expect(page.get_by_text("june.jsonl: rows 101 to 220")).to_be_visible()


def test_on_a_phone_in_the_dark_and_for_who_may_only_look(site: Site, tmp_path: Path):
    anna, vera = site.person(), site.person(Role.VIEWER)
    site.house.base("tiny", text_base(tmp_path / "base", "chatml"))
    dataset = site.house.upload(anna, "export.jsonl", tickets()).json()["tuneroom"]["dataset"]
    do_waiting(site.house)
    page = site.page(vera, f"/dataset?id={dataset}&tab=report", viewport=PHONE, color_scheme="dark")
    said = listened(page)
    expect(page.get_by_role("heading", name="4 rows cannot be used")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("E-mail addresses"))).to_be_visible()
    for name in ("Count tokens", "It is something else", "Train on this"):
        expect(page.get_by_text(name, exact=True)).to_have_count(0)
    assert fits(page)
    with LightWorker(site.house):
        for address in ("&tab=preview&row=45&max=64", "&tab=versions", "&row=67", ""):
            page.goto(f"{site.url}/dataset?id={dataset}{address}")
            expect(page.locator("[data-live=dataset] h1")).to_be_visible()
            if "preview" in address:
                expect(page.locator(".tr-pv-cut")).to_be_visible(timeout=PATIENTLY)
            assert fits(page), address
        expect(page.get_by_role("button", name="Edit")).to_have_count(0)
    assert said == []


def test_a_preview_that_nobody_answers_says_so_and_can_be_asked_again(site: Site, tmp_path: Path):
    anna = site.person()
    site.house.base("tiny", text_base(tmp_path / "base", "chatml"))
    dataset = site.house.upload(anna, "export.jsonl", tickets()).json()["tuneroom"]["dataset"]
    do_waiting(site.house)
    page = site.page(anna, f"/dataset?id={dataset}&tab=preview&row=3")
    expect(page.get_by_role("alert")).to_contain_text("No light worker is running")
    with LightWorker(site.house):
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".tr-pv-sequence")).to_be_visible(timeout=PATIENTLY)
        page.get_by_role("button", name="the shortest").click()
        expect(page.get_by_role("alert")).to_contain_text("Count them first.")
        page.get_by_role("button", name="Count tokens").click()
        expect(page.locator(".tr-pv-sequence")).to_be_visible(timeout=PATIENTLY)
