"""S21 behind the pages: whatever a handler raises, a person reads a sentence or an error id; the log has the story."""

import re
import sqlite3
from collections.abc import Iterator

import gradio as gr
import httpx
import pytest
import structlog

from models.domain import errors
from tests.webapp.view import JOIN, PREDICT, View, event, told, viewing
from webapp.pages.wiring import on

SECRETS = (
    'File "/srv/tuneroom/models/db/store/team.py", line 3, in job',
    "SELECT users.password_hash FROM users",
    "Traceback (most recent call last):",
    "/home/user/.cache/token hf_abcdefghij",
    "password=hunter2",
)
KINDS = (RuntimeError, KeyError, ValueError, OSError, sqlite3.OperationalError, TypeError, AssertionError,
         RecursionError, MemoryError, AttributeError)  # fmt: skip
ERROR_ID = re.compile(r"err-[0-9a-z]{26}")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """A page whose handlers raise what they are told to: at once, later, and in the middle of a stream."""
    with gr.Blocks() as demo:
        pass
    with demo.route("Break", "/break"):
        which, out, button, many = gr.Number(), gr.Textbox(), gr.Button(), gr.Dropdown(["a"])

        def fail(number: float) -> str:
            raise KINDS[int(number) % len(KINDS)](SECRETS[int(number) % len(SECRETS)])

        async def fail_later(number: float) -> str:
            return fail(number)

        def fail_between(number: float) -> Iterator[str]:
            yield "first"
            yield fail(number)

        async def fail_between_later(number: float):
            yield "first"
            yield fail(number)

        def refuse() -> None:
            raise errors.Invalid("Rank is 0; at least 1 is needed.", param="rank", path="/srv/secret/rank.txt")

        on(button.click, fail, which, out)
        on(button.click, fail_later, which, out)
        on(button.click, fail_between, which, out, is_long=True)
        on(button.click, fail_between_later, which, out, is_long=True)
        on(button.click, refuse, None, out)
        on(button.click, lambda chosen: chosen, many, out)
    with viewing(tmp_path_factory.mktemp("break"), demo, ("/break",)) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser(view: View) -> Iterator[httpx.Client]:
    with view.browser(view.house.person()) as opened:
        yield opened


@pytest.mark.parametrize("kind", range(2), ids=["plain", "async"])
def test_no_exception_of_a_short_handler_leaves_the_house(view, browser, kind):
    with structlog.testing.capture_logs() as logs:
        for number in range(25):
            answer = browser.post(PREDICT, json=event(sorted(view.fns)[kind], [number]))
            assert answer.status_code == 500
            _is_told_nothing(answer.text, logs)
    assert len(logs) == 25


@pytest.mark.parametrize("kind", (2, 3), ids=["generator", "async generator"])
def test_no_exception_of_a_stream_leaves_the_house(view, browser, kind):
    with structlog.testing.capture_logs() as logs:
        for number in range(10):
            session_hash = f"stream{kind}{number}"
            browser.post(JOIN, json=event(sorted(view.fns)[kind], [number], session_hash=session_hash))
            with browser.stream("GET", f"/gradio_api/queue/data?session_hash={session_hash}") as streaming:
                _is_told_nothing(str(list(told(streaming))), logs)
    assert len([entry for entry in logs if entry["event"] == "unexpected error in a page"]) == 10


def test_an_expected_error_is_its_sentence_without_its_facts(view, browser):
    answer = browser.post(PREDICT, json=event(sorted(view.fns)[4], []))
    assert answer.json()["error"] == "Rank is 0; at least 1 is needed." and "secret" not in answer.text


def test_what_breaks_inside_gradio_says_nothing_either(view, browser):
    """An event that does not exist, too few inputs, and values that a component cannot take."""
    broken = [event(999, []), event(sorted(view.fns)[0], []), event(sorted(view.fns)[0], [{"x": 1}])]
    broken += [event(sorted(view.fns)[5], [value]) for value in ("not a choice", [["a"]], {"value": "a"}, 1e308)]
    unsaid = ("Traceback", "site-packages", ".py", "gradio.", str(view.house.deps.settings.data_dir))
    for body in broken:
        answer = browser.post(PREDICT, json=body)
        assert answer.status_code == 500, answer.text
        assert not [words for words in unsaid if words in answer.text], (body, answer.text)


def _is_told_nothing(text: str, logs: list) -> None:
    """The newest error in the log is the one whose id the person was told."""
    found = ERROR_ID.search(text)
    assert found is not None, text
    assert found[0] in [entry.get("error_id") for entry in logs]
    assert not [secret for secret in SECRETS if secret in text or secret.replace('"', '\\"') in text], text
    assert "Traceback" not in text and ".py" not in text
