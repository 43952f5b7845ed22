"""Presets on the Train page in a real browser: save what the form says, choose, share, export, import, delete."""

import re

import pytest
import yaml
from playwright.sync_api import Page, expect

from models.db.store.team import TeamStore
from models.domain.access import Role
from tests.browser import Site, chromium, site
from tests.webapp.test_page_train import filled, shot
from webapp.actions.presets import list_presets

__all__ = ["chromium", "site"]


@pytest.fixture(autouse=True)
def patience():
    """Each answer here follows several others of the form, which take their time on a busy machine."""
    expect.set_options(timeout=20_000)
    yield
    expect.set_options(timeout=5_000)


def save(page: Page, name: str, *, is_shared: bool = False) -> None:
    page.get_by_label("Preset's name", exact=True).fill(name)
    if is_shared:
        page.get_by_label("Share with the team", exact=True).click()
    page.get_by_role("button", name="Save preset").click()


def note(page: Page):
    return page.locator(".tr-preset")


def test_a_preset_is_saved_chosen_shared_and_deleted(site: Site):
    anna, bert = site.person(), site.person()
    site.house.base("tiny")
    page = filled(site.page(anna, "/train"))
    page.get_by_text("Advanced: rows").click()
    page.get_by_label("Rank", exact=True).fill("4")
    page.get_by_label("Epochs", exact=True).fill("99")
    page.get_by_role("button", name="Save as preset").click()
    save(page, "Support tone")
    expect(page.get_by_text("Something in the form cannot be used yet")).to_be_visible()
    page.get_by_label("Epochs", exact=True).fill("9")
    expect(note(page)).to_contain_text("changed from House default: Rank, Epochs")
    save(page, "Quick")
    expect(page.get_by_text('"Quick" is one of Tuneroom\'s own presets.')).to_be_visible()
    page.get_by_role("button", name="Change the chosen one").click()
    expect(page.get_by_text("Choose the preset to change above first")).to_be_visible()
    save(page, "Support")
    expect(note(page)).to_contain_text("Exactly as the preset.")
    page.get_by_label("Epochs", exact=True).fill("8")
    expect(note(page)).to_contain_text("changed from Support: Epochs")
    page.get_by_label("Preset's name", exact=True).fill("Support tone")
    page.get_by_role("button", name="Change the chosen one").click()
    expect(page.get_by_text('"Support tone" is changed.')).to_be_visible()
    expect(page.get_by_role("radio", name="Support tone")).to_be_checked()
    expect(note(page)).to_contain_text("Yours; nobody else sees it.")
    expect(note(page)).to_contain_text("Exactly as the preset.")

    page.get_by_role("radio", name="House default").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("16")
    page.get_by_role("radio", name="Support tone").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("4")
    page.get_by_label("Rank", exact=True).fill("6")
    expect(note(page)).to_contain_text("changed from Support tone: Rank")
    page.locator("#field-lora-options-rank").get_by_role("button", name="Reset").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("4")
    expect(note(page)).to_contain_text("Exactly as the preset.")  # by then the browser has kept it
    page.reload()
    filled(page)
    expect(page.get_by_role("radio", name="Support tone")).to_be_checked()
    shot(page, "preset-own")

    page.get_by_role("button", name="Share with the team").click()
    expect(note(page)).to_contain_text("Yours, shared with the team.")
    (seen,) = list_presets(site.house.deps, anna.principal)
    other = filled(site.page(bert, f"/train?preset={seen.id}"))
    expect(other.get_by_role("radio", name=re.compile("Support tone · x-"))).to_be_checked()
    expect(note(other)).to_contain_text(re.compile("Shared with the team by x-.*@example.org"))
    expect(note(other).get_by_role("button", name="Delete")).to_have_count(0)

    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("Delete the preset “Support tone”, which the team shares? Runs that were made")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("radio", name="Support tone")).to_have_count(0)
    expect(page.get_by_role("radio", name="House default")).to_be_checked()
    page.get_by_text("Advanced: rows").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("4")  # what it set stays
    expect(note(other)).to_contain_text("This preset is gone")


def test_a_preset_travels_as_a_file(site: Site, tmp_path):
    anna = site.person()
    page = filled(site.page(anna, "/train"))
    page.get_by_role("button", name="Save as preset").click()
    save(page, "Night run", is_shared=True)
    expect(page.get_by_role("radio", name="Night run")).to_be_checked()
    with page.expect_download() as got:
        page.get_by_role("link", name="Export as YAML").click()
    file = tmp_path / got.value.suggested_filename
    got.value.save_as(file)
    told = yaml.safe_load(file.read_text())
    assert file.name == "Night run.yaml" and told["preset"] == "Night run" and "base" not in told

    told["schedule"]["epochs"] = 99
    page.get_by_label("Preset as YAML").fill(yaml.safe_dump(told))
    page.get_by_role("button", name="Import preset").click()
    expect(page.get_by_text("schedule.epochs: 99 was given; Epochs goes from 1 to 50.")).to_be_visible()
    told |= {"preset": "Day run", "schedule": told["schedule"] | {"epochs": 7}}
    file.write_text(yaml.safe_dump(told))
    page.locator(".tr-preset-file input").set_input_files(file)
    expect(page.get_by_label("Preset as YAML")).to_have_value(re.compile("Day run"))
    page.get_by_role("button", name="Import preset").click()
    expect(page.get_by_text('Imported as "Day run"; the form is filled with it.')).to_be_visible()
    expect(page.get_by_role("radio", name="Day run")).to_be_checked()
    page.get_by_text("Advanced: rows").click()
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("7")
    assert {seen.name: seen.is_shared for seen in list_presets(site.house.deps, anna.principal)} == {
        "Night run": True, "Day run": False,
    }  # fmt: skip


def test_a_preset_that_does_not_fit_says_why_and_leaves_the_form(site: Site):
    anna, vera = site.person(), site.person(Role.VIEWER)
    with site.house.deps.database.write() as session:
        old = {"schedule": {"epochs": 3, "momentum": 0.9}}
        TeamStore(session, anna.principal).add_preset("From last year", old, is_shared=True)
    page = filled(site.page(anna, "/train"))
    page.get_by_role("radio", name="Quick").click()
    page.get_by_role("radio", name="From last year").click()
    expect(note(page)).to_contain_text("From last year no longer fits this version: schedule.momentum is not a setting")
    page.get_by_text("Advanced: rows").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("8")
    seen = filled(site.page(vera, "/train"))
    expect(seen.get_by_role("radio", name=re.compile("From last year"))).to_be_disabled()
    seen.get_by_role("button", name="Save as preset").click()
    expect(seen.get_by_role("button", name="Save preset")).to_be_disabled()
