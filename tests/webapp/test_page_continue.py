"""From an adapter's page to a training that goes on from it, and to its settings as a file, in a real browser."""

from playwright.sync_api import expect

from tests.browser import Site, chromium, site
from tests.webapp.test_page_train import choose, filled, rows_of, summary, yaml_of

__all__ = ["chromium", "site"]


def test_continue_training_opens_the_form_with_the_adapters_own_settings(site: Site):
    anna = site.person()
    rows_of(site, anna, "more-tickets.jsonl")
    job, adapter = site.house.trained(anna, site.house.base("tiny"))
    page = site.page(anna, f"/adapter?id={adapter}")
    settings = page.get_by_role("link", name="Settings as YAML", include_hidden=True)
    expect(settings).to_have_attribute("href", f"/api/v1/jobs/{job}/spec.yaml")
    page.get_by_role("link", name="Continue training").click()
    filled(page)
    choose(page, "Dataset", "more-tickets")
    expect(summary(page)).to_contain_text("190 rows an epoch")
    page.get_by_role("button", name="Advanced").click()
    expect(page.get_by_label("Continue from adapter", exact=True)).to_have_value(adapter)
    told = yaml_of(page)
    assert (told["start_adapter"], told["method"]["options"]["rank"], told["quantisation"]) == (adapter, 4, "nf4")
