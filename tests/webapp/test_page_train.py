"""The Train page in a real browser: choose, change, copy, paste, fail, start."""

import os
import re
import socket

import yaml
from playwright.sync_api import Page, expect

from models.db.store.system import SystemStore
from models.db.tables import Worker
from models.domain.access import Role
from models.domain.job import JobKind, Lane
from models.domain.training import TrainingSpec
from tests.browser import PHONE, Site, chromium, site
from tests.counted import counted, report_of
from webapp.actions.show_jobs import list_jobs

__all__ = ["chromium", "site"]
SHOTS = os.environ.get("TUNEROOM_SHOTS")  # a folder, to look at what the tests see


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/train-{name}.png", full_page=True)


def rows_of(site: Site, person, name: str = "house-style.jsonl", *, is_usable: bool = True) -> str:
    """A checked file of 200 rows."""
    file = site.house.upload(person, name).json()["id"]
    site.house.check_file(file, is_usable=is_usable, details=None if is_usable else "row 3 has no answer.", rows=200)
    return file


def filled(page: Page) -> Page:
    """Wait until the form has been filled and the summary counted."""
    expect(page.locator("[data-train-who]")).to_have_attribute("data-train-who", re.compile("user-"), timeout=20_000)
    return page


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=re.compile(re.escape(option))).click()


def summary(page: Page):
    return page.locator(".tr-summary")


def yaml_of(page: Page) -> dict:
    return yaml.safe_load(page.locator("#train-yaml").text_content())


def test_a_run_is_set_up_and_started_once(site: Site):
    anna = site.person()
    base = site.house.base("tiny")
    file = rows_of(site, anna)
    page = filled(site.page(anna, "/train"))
    choose(page, "Dataset", "house-style")
    expect(summary(page)).to_contain_text("190 rows an epoch, 10 held back")
    expect(summary(page)).to_contain_text("1,024")
    page.get_by_label("Quick").click()
    expect(summary(page)).to_contain_text("512")  # rank 8
    expect(page.locator(".tr-preset")).to_contain_text("Exactly as the preset.")

    page.get_by_text("Advanced: rows").click()
    rank = page.locator("#field-lora-options-rank")
    page.get_by_label("Rank", exact=True).fill("32")
    expect(rank).to_contain_text("changed from 8")
    expect(page.locator(".tr-preset")).to_contain_text("changed from Quick: Rank")
    expect(summary(page)).to_contain_text("2,048")
    assert yaml_of(page)["method"]["options"]["rank"] == 32
    rank.get_by_role("button", name="Reset").click()
    expect(rank).to_contain_text("default: 8")

    page.get_by_label("Rank", exact=True).fill("9999")
    expect(rank).to_contain_text("9999 was given; Rank goes from 1 to 512.")
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_text("Not started: look at Rank.")).to_be_visible()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("9999")
    shot(page, "refused")
    page.reload()
    filled(page)
    page.get_by_text("Advanced: rows").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("9999")
    expect(page.get_by_label("Quick")).to_be_checked()

    page.get_by_label("Rank", exact=True).fill("4")
    page.get_by_label("Name", exact=True).fill("try one")
    expect(page.get_by_text('"try one" was given; a name has up to 64')).to_be_visible()
    page.get_by_label("Name", exact=True).fill("try-one")
    expect(summary(page)).to_contain_text("256")
    page.get_by_role("button", name="Start run").dblclick()
    page.wait_for_url("**/run?id=ftjob-*")
    found = list_jobs(site.house.deps, anna.principal, limit=9, kinds=(JobKind.TRAIN,)).items
    (job,) = [seen.job for seen in found]
    assert page.url.endswith(job.id)
    spec = TrainingSpec.model_validate(job.spec)
    assert (spec.base, spec.data.training_file, spec.data.max_length, spec.suffix) == (base, file, 1024, "try-one")
    assert (spec.method.options["rank"], spec.method.options["alpha"], spec.schedule.epochs) == (4, 16, 1)


def test_settings_travel_as_text_and_by_link(site: Site):
    anna = site.person()
    base = site.house.base("tiny")
    file = rows_of(site, anna)
    job, _ = site.house.trained(anna, base)
    page = filled(site.page(anna, f"/train?file={file}", viewport={"width": 1280, "height": 700}))
    expect(summary(page)).to_contain_text("190 rows an epoch")
    page.get_by_text("Advanced: rows").click()
    told = yaml_of(page)
    assert told["names"] == {"base": "tiny", "training_file": "house-style.jsonl"}

    page.get_by_role("button", name="From YAML").click()
    told["schedule"]["epochs"], told["method"]["options"]["targets"] = 99, ["q_proj"]
    page.get_by_label("Settings as YAML").fill(yaml.safe_dump(told))
    page.get_by_role("button", name="Fill the form").click()
    expect(page.get_by_text("schedule.epochs: 99 was given; Epochs goes from 1 to 50.")).to_be_visible()
    expect(page.get_by_label("Layers", exact=True)).to_have_value("all-linear")
    told["schedule"]["epochs"] = 9
    page.get_by_label("Settings as YAML").fill(yaml.safe_dump(told))
    page.get_by_role("button", name="Fill the form").click()
    expect(page.get_by_text("The form is filled.")).to_be_visible()
    expect(page.get_by_label("Layers", exact=True)).to_have_value("q_proj")
    expect(page.locator("#field-schedule-epochs")).to_contain_text("changed from 3")
    page.get_by_label("Layers", exact=True).fill("k_proj")
    expect(page.locator("#field-lora-options-targets")).to_contain_text("This base has no linear layer named k_proj")
    shot(page, "advanced")
    page.mouse.wheel(0, 1200)
    expect(summary(page)).to_be_in_viewport()

    again = filled(site.page(anna, f"/train?from={job}&file={file}", viewport=PHONE, color_scheme="dark"))
    expect(summary(again)).to_contain_text("190 rows an epoch")
    again.get_by_label("Another file").click()
    choose(again, "File to validate with", "house-style")
    expect(summary(again)).to_contain_text("200 rows an epoch")
    again.reload()
    filled(again)  # a busy machine takes longer for a whole page than for an answer
    expect(summary(again)).to_contain_text("200 rows an epoch")
    shot(again, "phone")
    assert again.evaluate("document.documentElement.scrollWidth <= 390")
    assert summary(again).bounding_box()["y"] > again.get_by_role("button", name="Start run").bounding_box()["y"]


def test_the_rows_are_mixed_capped_and_counted(site: Site):
    anna = site.person()
    base = site.house.base("tiny")
    first, other = rows_of(site, anna), rows_of(site, anna, "letters.jsonl")
    counted(site.house, anna, first, base, report_of({40: 150, 200: 48, 900: 2}, findings={"tools_vanish": 3}))
    page = filled(site.page(anna, f"/train?file={first}", viewport={"width": 1280, "height": 900}))
    expect(summary(page)).to_contain_text("190 rows an epoch, 10 held back")
    expect(summary(page)).to_contain_text("longest 900")
    expect(page.get_by_text("Tools that vanish: 3 rows. They are left out.")).to_be_visible()

    choose(page, "Mix in another dataset", "letters")
    slot = page.locator(".tr-mixed-slot").first
    expect(slot).to_contain_text("letters.jsonl")
    expect(slot).to_contain_text("190 in an epoch")
    expect(summary(page)).to_contain_text("counting tokens …")
    slot.get_by_label("Weight", exact=True).fill("0")
    expect(slot).to_contain_text("0 was given; Weight goes above 0, at most 100.")
    slot.get_by_label("Weight", exact=True).fill("0.5")
    expect(slot).to_contain_text("95 in an epoch")
    counted(site.house, anna, other, base, report_of({100: 200}))
    expect(summary(page)).to_contain_text("longest 900", timeout=15_000)

    page.get_by_text("Advanced: rows").click()
    page.get_by_role("button", name="99th percentile").click()
    expect(page.get_by_label("Longest row, tokens", exact=True)).to_have_value("200")
    expect(summary(page)).to_contain_text("2 of 400 sequences are longer than 200 tokens: left out")
    page.get_by_label("Most rows", exact=True).fill("50")
    # 50 + 100 rows, 8 of them held back; of the first dataset 198 in 200 are short enough.
    expect(summary(page)).to_contain_text("142 rows an epoch, 8 held back")
    told = yaml_of(page)
    assert told["data"]["rows"]["mixed"] == [{"file": other, "weight": 0.5}]
    assert told["data"]["rows"]["most_rows"] == 50 and told["names"]["mixed"] == ["letters.jsonl"]
    shot(page, "mixed")
    page.reload()
    filled(page)
    expect(slot.get_by_label("Weight", exact=True)).to_have_value("0.5")
    slot.get_by_role("button", name="Remove").click()
    expect(slot).to_be_hidden()
    page.get_by_text("Advanced: rows").click()
    assert yaml_of(page)["data"]["rows"]["mixed"] == []


def test_nobody_can_type_before_the_form_is_filled(site: Site):
    """The filling would write over it."""
    anna = site.person()
    site.house.base("tiny")
    page = site.page(anna, "/train")
    name = page.get_by_label("Name", exact=True)
    name.fill("typed-at-once")  # waits until the field takes it
    filled(page)
    expect(summary(page)).to_contain_text("1,024")
    expect(name).to_have_value("typed-at-once")


def test_what_is_missing_is_said_in_words(site: Site):
    anna, vera = site.person(), site.person(Role.VIEWER)
    page = filled(site.page(anna, "/train"))
    expect(page.get_by_text("No base model is here yet. Add one")).to_be_visible()
    expect(page.get_by_text("No dataset is here yet. Add one or try a sample")).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Not started: look at Base model, Dataset.")).to_be_visible()
    expect(page.get_by_text("No base model is chosen; a run starts from one.")).to_be_visible()
    shot(page, "empty")

    site.house.base("tiny")
    page = filled(site.page(anna, "/train?from=ftjob-unknown"))
    expect(page.get_by_text("No job 'ftjob-unknown' was found in this team.")).to_be_visible()
    expect(page.get_by_label("Base model", exact=True)).to_have_value(re.compile("tiny"))
    broken = rows_of(site, anna, "broken.jsonl", is_usable=False)
    page = filled(site.page(anna, f"/train?base=tiny&file={broken}"))
    expect(page.get_by_text("It cannot be used: row 3 has no answer.")).to_be_visible()
    expect(page.get_by_text("Without a chat template")).to_be_visible()
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_text("broken.jsonl cannot be used: row 3 has no answer.")).to_be_visible()

    seen = filled(site.page(vera, f"/train?file={broken}"))
    expect(seen.get_by_text("your role in this team does not start runs")).to_be_visible()
    expect(seen.get_by_role("button", name="Start run")).to_be_disabled()
    expect(seen.get_by_label("Name", exact=True)).to_be_disabled()
    shot(seen, "viewer")


def test_a_run_that_does_not_fit_is_made_to_fit_with_one_click(monkeypatch, request):
    """On a worker that may take 800 MB: rows of 65,536 tokens are too much for it."""
    monkeypatch.setenv("TUNEROOM_MEMORY_LIMIT_BYTES", "800000000")
    site: Site = request.getfixturevalue("site")
    anna = site.person()
    site.house.base("tiny")
    row = {"id": "worker-1", "host": socket.gethostname(), "pid": 1, "lane": Lane.JOBS, "device": "cpu", "slots": 1}
    with site.house.deps.database.write() as session:
        SystemStore(session).worker_started(Worker(**row))
    page = filled(site.page(anna, "/train"))
    page.get_by_text("Advanced: rows").click()
    longest = page.get_by_label("Longest row, tokens", exact=True)
    longest.fill("65536")
    expect(summary(page)).to_contain_text("does not fit")
    shot(page, "too-much")
    cures = page.locator(".tr-cures").get_by_role("button")
    words = cures.all_inner_texts()
    cures.filter(has_text="rows up to").click()
    expect(summary(page)).to_contain_text("fits in")
    expect(longest).not_to_have_value("65536")
    said = next(one for one in words if one.startswith("rows up to"))
    assert yaml_of(page)["data"]["max_length"] == int(re.sub(r"\D", "", said.split("tokens")[0]))
    expect(page.locator(".tr-cures")).to_have_count(0)
    shot(page, "made-to-fit")


def test_what_is_typed_is_kept_while_the_server_does_not_answer(site: Site):
    page = filled(site.page(site.person(), "/train"))
    page.get_by_text("Advanced: rows").click()
    page.route("**/gradio_api/run/predict", lambda route: None)  # no answer ever comes
    for typed in ("21", "22"):  # the second while the question of the first is under way
        page.get_by_label("Rank", exact=True).fill(typed)
        page.wait_for_function("(typed) => localStorage.getItem('tuneroom-train')?.includes(`\"${typed}\"`)", arg=typed)
    page.unroute_all()
    page.reload()
    filled(page)
    page.get_by_text("Advanced: rows").click()
    expect(page.get_by_label("Rank", exact=True)).to_have_value("22")
