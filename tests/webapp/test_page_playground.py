"""The Playground in a real browser; the models alone are scripted."""

import re
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pytest

from models.db.store.system import SystemStore
from models.db.tables import Worker, db_now
from models.domain.chat import ChatRequest, Delta, Failed, Loading, TokenEvent, Waiting
from models.domain.errors import AppError, Code
from models.domain.ids import new_id
from tests.browser import PHONE, chromium, site
from tests.harness import wait_for
from tests.webapp.scripted_worker import DONE, ScriptedWorker

__all__ = ["chromium", "site"]

PROMPT, SEND = "[data-pg=prompt]", "[data-pg=send]"
SIXTY_LINES = "\n\n".join(f"Line {number}." for number in range(60))
PAYLOADS = (
    "<script>window.hurt = 1</script>",
    "<img src=x onerror='window.hurt = 1'>",
    "[click](javascript:window.hurt=1) [data](data:text/html,x)",
    "![x](https://elsewhere.example/pixel.png)",
    "`</code><svg onload=window.hurt=1>`",
    "| <b>a</b> | b |\n|---|---|\n| <iframe src=javascript:window.hurt=1></iframe> | c |",
    "```html\n</code></pre><img src=x onerror=window.hurt=1>\n```",
    "**<a href=javascript:window.hurt=1>bold</a>**",
)


@pytest.fixture
def worker(site):
    row = Worker(id=new_id("worker"), host="h", pid=1, lane="chat", device="cpu", slots=1, seen_at=db_now(600))
    with site.house.deps.database.write() as session:
        SystemStore(session).worker_started(row)
    started = ScriptedWorker(site.house.deps.settings)
    yield started
    started.close()


def pane(page, number: int):
    return page.locator(".tr-pg-pane").nth(number)


def ask(page, prompt: str) -> None:
    page.fill(PROMPT, prompt)
    page.keyboard.press("Enter")


def ended(page) -> None:
    page.wait_for_selector(f"{SEND}:text-is('Send')")


def texts(page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_before_there_is_a_model_the_page_says_what_to_do_and_notices_the_first_one(site):
    anna = site.person()
    page = site.page(anna, "/playground")
    page.wait_for_selector("[data-pg=no-models] >> text=Nothing to talk to yet")
    assert page.locator("[data-pg=no-models] a").first.get_attribute("href") == "/bases"
    assert not page.locator("[data-pg=composer]").is_visible()
    site.house.base("tiny")
    page.wait_for_selector(".tr-pg-pane")
    page.wait_for_selector("[data-pg=no-worker] >> text=No chat worker is running")


def test_two_panes_answer_one_prompt_and_seed_and_everything_is_there_after_a_reload(site, worker):
    anna = site.person()
    base = site.house.base("tiny")
    site.house.trained(anna, base)
    marks: list[float] = []

    def script(request: ChatRequest) -> Iterable[TokenEvent]:
        if request.model.adapter is None:
            yield from (Loading(what="tiny"), Waiting(ahead=3))
            wait_for(lambda: marks, 5)
        yield from (Delta(text="I am "), Delta(text=f"**{request.model.public_id[:4]}**"), DONE)

    worker.script = script
    page = site.page(anna, "/playground")
    page.wait_for_selector(".tr-pg-pane")
    assert page.locator(".tr-pg-pane").count() == 2  # the newest adapter beside its base
    assert texts(page, ".tr-pg-what .tr-chip") == ["full precision", "NF4"]
    page.click("[data-pg=open-settings]")
    page.fill("[name=system]", "Be brief.")
    page.fill("[name=temperature]", "3")
    page.press("[name=temperature]", "Tab")
    assert "0 to 2" in page.inner_text("[data-pg=settings-error]")
    page.fill("[name=temperature]", "0.4")
    page.fill("[name=seed]", "77")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.pg") == "prompt"
    ask(page, "Who\nare you?")
    pane(page, 0).get_by_text("3 answers before yours").wait_for()
    assert page.inner_text(SEND) == "Stop"
    marks.append(time.monotonic())
    ended(page)
    assert texts(page, ".tr-pg-answer .tr-md") == ["I am tiny", "I am ft:t"]
    assert texts(page, ".tr-pg-answer .tr-md strong") == ["tiny", "ft:t"]
    figures = " ".join(pane(page, 1).locator(".tr-pg-figures").inner_text().split())
    assert figures == "0.10 s to first token 9.0 tokens/s 3 tokens"
    assert page.evaluate("document.activeElement.dataset.pg") == "prompt"
    asked = {(r.sampling.seed, r.sampling.temperature, str(r.messages)) for r in worker.requests}
    assert len(asked) == 1
    assert worker.requests[0].messages[0]["content"] == "Be brief."
    assert "conversation=chat-" in page.url and "models=tiny" in page.url

    page.reload()
    page.wait_for_selector(".tr-pg-answer")
    assert texts(page, ".tr-pg-answer .tr-md") == ["I am tiny", "I am ft:t"]
    assert texts(page, ".tr-pg-prompt") == ["Who\nare you?"] * 2
    assert (page.input_value("[name=seed]"), page.input_value("[name=temperature]")) == ("77", "0.4")

    page.click("[data-pg=again]")  # the same seed would give the same answer, so a new one is drawn
    page.wait_for_selector("#tr-toasts >> text=A new seed")
    ended(page)
    seeds = [request.sampling.seed for request in worker.requests[2:]]
    assert len(seeds) == 2 and seeds[0] == seeds[1] != 77
    assert page.locator(".tr-pg-answer").count() == 2


def test_a_pane_fails_alone_stop_stops_all_and_what_had_come_is_kept(site, worker):
    anna = site.person()
    for name in ("one", "two", "three"):
        site.house.base(name)
    full = AppError("The messages have 900 tokens; this model reads 512.", code=Code.CONTEXT_TOO_LONG)
    worker.script = lambda request: (
        (Failed(error=full.to_json()),) if request.model.public_id == "two" else (Delta(text="Bonjour"),)
    )
    page = site.page(anna, "/playground?models=one,two,three")
    page.wait_for_selector(".tr-pg-pane")
    ask(page, "Hi")
    pane(page, 1).get_by_text("this model reads 512").wait_for()
    for number in (0, 2):
        pane(page, number).locator(".tr-md >> text=Bonjour").wait_for()
    assert page.inner_text(SEND) == "Stop"
    time.sleep(0.5)  # a click right after Send is a double click
    page.keyboard.press("Escape")
    ended(page)
    running = [request for request in worker.requests if request.model.public_id != "two"]
    assert wait_for(lambda: all(site.house.deps.streams.stop_asked(r.request_id) for r in running), 3)
    assert page.locator(".tr-pg-notes >> text=stopped").count() == 2
    worker.script = (Delta(text="Better"), DONE)
    page.click(".tr-pg-failed button")  # that pane alone
    pane(page, 1).locator(".tr-md >> text=Better").wait_for()
    assert len(worker.requests) == 4
    page.reload()
    page.wait_for_selector(".tr-pg-answer")
    assert texts(page, ".tr-pg-answer .tr-md") == ["Bonjour", "Better", "Bonjour"]


class Cable:
    """A real connection between browser and server that can be pulled, which is what a killed server looks like."""

    def __init__(self, url: str) -> None:
        self._server = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self.is_plugged = True
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self.is_plugged = False
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        while True:
            near, _ = self._listening.accept()
            if not self.is_plugged:
                near.close()
                continue
            far = socket.create_connection(self._server)
            self._open += [near, far]
            for here, there in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                there.sendall(data)
        with suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)


def test_a_connection_lost_in_the_middle_loses_only_the_unfinished_answer_and_nothing_typed(site, worker):
    anna = site.person()
    site.house.base("tiny")
    worker.script = (Delta(text="Bon"),)
    cable = Cable(site.url)
    page = replace(site, url=cable.url).page(anna, "/playground")
    page.wait_for_selector(".tr-pg-pane")
    ask(page, "Hi")
    pane(page, 0).locator(".tr-md >> text=Bon").wait_for()
    cable.pull()
    pane(page, 0).get_by_text("broke off here").wait_for()
    assert texts(page, ".tr-pg-answer .tr-md") == ["Bon"]
    ask(page, "Are you there?")
    page.wait_for_selector("[data-pg=error] >> text=cannot be reached")
    assert (page.input_value(PROMPT), page.locator(".tr-pg-prompt").count()) == ("Are you there?", 1)
    cable.is_plugged = True
    worker.script = (Delta(text="Yes."), DONE)
    page.keyboard.press("Enter")
    pane(page, 0).locator(".tr-md >> text=Yes.").wait_for()
    ended(page)
    page.context.clear_cookies()
    ask(page, "Still?")
    page.wait_for_selector("[data-pg=error] >> text=signed out")
    assert page.input_value(PROMPT) == "Still?"


def test_what_a_model_or_a_person_writes_never_becomes_markup(site, worker):
    anna = site.person()
    site.house.base("tiny")
    answer = "\n\n".join(PAYLOADS)
    worker.script = lambda request: (*(Delta(text=piece) for piece in re.findall("(?s).{1,7}", answer)), DONE)
    page = site.page(anna, "/playground")
    page.wait_for_selector(".tr-pg-pane")
    ask(page, PAYLOADS[1] + PAYLOADS[0])
    ended(page)
    page.click("[data-pg=open-conversations]")
    page.wait_for_selector(".tr-pg-list .tr-pg-name")
    page.reload()
    page.wait_for_selector(".tr-pg-answer .tr-md p")
    made = "img, script, svg, iframe, object, embed, form, [onerror], [onload], b"
    for part in (".tr-pg-panes", ".tr-pg-list", ".tr-head"):
        assert page.locator(part).locator(made).count() == 0
    addresses = page.eval_on_selector_all(".tr-md a", "all => all.map(a => a.getAttribute('href'))")
    assert addresses == ["https://elsewhere.example/pixel.png"]  # a link to follow, never a picture to load
    assert page.evaluate("window.hurt") is None
    assert PAYLOADS[0] in page.inner_text(".tr-pg-answer")


def test_conversations_are_found_renamed_and_deleted_in_the_drawer(site, worker):
    anna = site.person()
    site.house.base("tiny")
    page = site.page(anna, "/playground")
    page.wait_for_selector(".tr-pg-pane")
    for prompt in ("Red roses", "Blue sky"):
        ask(page, prompt)
        ended(page)
        page.wait_for_selector(".tr-pg-notes")
        page.click("[data-pg=new]")
        page.wait_for_selector("text=Answers appear here.")
    assert "conversation=" not in page.url
    page.click("[data-pg=open-conversations]")
    page.wait_for_selector(".tr-pg-name >> text=Blue sky")
    assert texts(page, ".tr-pg-name") == ["Blue sky", "Red roses"]
    page.fill("[data-pg=search]", "red")
    page.wait_for_selector(".tr-pg-name >> text=Blue sky", state="detached")
    page.click(".tr-pg-name >> text=Red roses")
    page.wait_for_selector(".tr-pg-prompt >> text=Red roses")
    assert page.inner_text("[data-pg=title]") == "Red roses"
    page.click("[data-pg=open-conversations]")
    page.click(".tr-pg-list li[aria-current] >> text=Rename")
    page.fill(".tr-pg-rename input", "Roses <b>")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-pg=title] >> text=Roses <b>")
    page.click(".tr-pg-list li[aria-current] >> text=Delete")
    assert "Roses <b>" in page.inner_text("dialog")
    page.click("dialog button.tr-danger")
    page.wait_for_selector("text=Answers appear here.")
    page.wait_for_selector(".tr-pg-list li[aria-current]", state="detached")


def test_a_pane_follows_its_answer_only_at_its_end_and_a_phone_has_no_sideways_scroll(site, worker):
    anna = site.person()
    site.house.base("tiny")
    worker.script = (Delta(text=SIXTY_LINES), DONE)
    page = site.page(anna, "/playground", viewport=PHONE)
    page.wait_for_selector(".tr-pg-pane")
    page.click("[data-pg=add]")
    ask(page, "Hi")
    ended(page)
    page.wait_for_function("[...document.querySelectorAll('.tr-pg-notes')].length === 2")
    thread = pane(page, 0).locator(".tr-pg-thread")
    gap = "each => each.scrollHeight - each.scrollTop - each.clientHeight"
    assert thread.evaluate("each => each.scrollHeight > 2 * each.clientHeight")
    assert thread.evaluate(gap) < 5
    height = pane(page, 0).bounding_box()["height"]

    def slowly(request: ChatRequest) -> Iterable[TokenEvent]:
        for number in range(20):
            yield Delta(text=f"Word {number}.\n\n")
            time.sleep(0.03)
        yield DONE

    worker.script = slowly
    page.fill(PROMPT, "More")
    page.keyboard.press("Enter")
    pane(page, 0).locator("text=Word 0.").wait_for()
    thread.evaluate("each => { each.scrollTop = 0; }")
    ended(page)
    assert thread.evaluate("each => each.scrollTop") == 0  # somebody reads above
    assert pane(page, 0).bounding_box()["height"] == height
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
