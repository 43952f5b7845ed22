"""Base models in a real browser: an administrator adds one and watches it come; others see whom to ask."""

from playwright.sync_api import expect

from models.db.store.system import SystemStore
from models.domain.access import Member, Role
from models.domain.errors import Invalid
from models.domain.job import JobState, Lane, Phase
from models.domain.progress import PhaseBegan, Progressed
from tests.browser import PHONE, Site, chromium, site
from tests.house import Person
from tests.people import make_member

__all__ = ["chromium", "site"]


def administrator(site: Site) -> Person:
    member: Member = make_member(site.house.deps.database, Role.MEMBER, is_admin=True)
    return Person(principal=member, secret="")  # type: ignore[arg-type]  # only the browser's session is used


def test_an_administrator_adds_a_base_and_everybody_watches_it_come(site: Site):
    house, admin, anna = site.house, administrator(site), site.person()
    page = site.page(admin, "/bases")
    expect(page.get_by_text("There is none here yet.")).to_be_visible()
    reference, name = page.locator("input[name=reference]"), page.locator("form input[name=name]")
    add = page.get_by_role("button", name="Add base model")

    # refusals stand beside the field, and what was typed stays
    reference.fill("nonsense")
    name.fill("mine")
    add.click()
    expect(page.locator("label:has(input[name=reference])").get_by_role("alert")).to_contain_text(
        "is no base model reference"
    )
    expect(reference).to_have_value("nonsense")
    reference.fill("org/Fine-Model@main")
    name.fill("Not This")
    add.click()
    expect(page.locator("label:has(input[name=name])").get_by_role("alert")).to_contain_text("cannot be a public id")
    name.fill("")
    add.click()
    coming = page.locator(".tr-data-import", has_text="fine-model")
    expect(coming).to_contain_text("waiting")
    expect(reference).to_have_value("")

    other = site.page(anna, "/bases", viewport=PHONE, color_scheme="dark")
    expect(other.get_by_text("Administrators of the installation add base models. Ask")).to_be_visible()
    expect(other.locator("form[data-send]")).to_have_count(0)
    with house.deps.database.write() as session:
        store = SystemStore(session)
        job = store.claim(Lane.LIGHT, "worker-test", 60)
        assert job is not None
        store.record(
            job.id, job.fence, [PhaseBegan(phase=Phase.STAGING), Progressed(done=4 * 10**8, total=10**9, unit="bytes")]
        )
    for each in (page, other):
        bar = each.get_by_role("progressbar", name="Import of fine-model")
        expect(bar).to_have_attribute("aria-valuenow", "40")
    expect(coming).to_contain_text("400 MB of 1.0 GB")
    with house.deps.database.write() as session:
        SystemStore(session).settle(
            job.id, job.fence, JobState.FAILED, error=Invalid("Only pickled <b>weights</b> were found.")
        )
    expect(coming).to_contain_text("Only pickled <b>weights</b> were found.")
    page.get_by_role("button", name="Dismiss").click()
    expect(coming).to_have_count(0)

    # a base that is here: its facts, its description, and its end
    base = house.base("smollm2-135m-instruct")
    house.trained(anna, base)
    page.reload()
    row = page.locator(".tr-data-bases tbody tr")
    for told in ("smollm2-135m-instruct", "Llama", "apache-2.0", "tiny.gguf", "A tiny base"):
        expect(row).to_contain_text(told)
    expect(row.get_by_role("link", name="Train on this")).to_have_attribute("href", f"/train?base={base}")
    row.get_by_text("Change the description").click()
    row.get_by_label("Description of").fill("Small and quick <i>")
    row.get_by_role("button", name="Save").click()
    expect(row.locator(".tr-hint").first).to_have_text("Small and quick <i>")
    row.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text('Delete base model "smollm2-135m-instruct" for everybody')
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".tr-toast-error")).to_contain_text("Delete what was trained on it first")
    expect(row).to_have_count(1)
    other.reload()
    expect(other.get_by_text("smollm2-135m-instruct")).to_be_visible()
    assert other.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
