"""What we leave out of Gradio and what we change in it, held against the version that is installed."""

import subprocess
import sys
from pathlib import Path

import gradio as gr
from gradio.route_utils import BUILD_PATH_LIB
from starlette.testclient import TestClient

from tests.webapp.view import viewing
from webapp.lighter_script import CHANGES, lighter_scripts
from webapp.mounting import PROGRESS_LOOK_SECONDS, QUEUE_LOOK_SECONDS

ROOT = Path(__file__).parents[2]
LOADED = "import webapp.mounting, gradio.component_meta as meta; print(meta.create_or_modify_pyi.__module__)"


def test_the_web_process_imports_gradio_without_writing_type_stubs():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["webapp.without_stubs"]


CHANGED = (("_found=new WeakMap",), ("show_progress[e.fn_index]===`hidden`)return", "?.isConnected&&"))


def test_the_scripts_are_the_changed_ones_and_no_page_is_rendered_anew(tmp_path):
    routes = lighter_scripts(Path(BUILD_PATH_LIB))
    assert sum(map(len, CHANGED)) == len(CHANGES)
    assert len(routes) == len(CHANGED), "this version of Gradio does in another way what is changed"
    with viewing(tmp_path) as view:
        assert view.gradio.get_blocks().renderables == []
        with view.browser(view.house.person()) as browser:
            for route, words in zip(routes, CHANGED, strict=True):
                answer = browser.get(route.path)
                assert "javascript" in answer.headers["content-type"] and "immutable" in answer.headers["cache-control"]
                assert [answer.text.count(word) for word in words] == [1 for _ in words]
                unchanged = TestClient(view.gradio).get(route.path).text
                assert [unchanged.count(word) for word in words] == [0 for _ in words]


def test_the_queue_is_looked_into_fifty_times_a_second_and_not_a_thousand(tmp_path):
    """An attribute that a later Gradio calls otherwise would be set without effect."""
    with gr.Blocks() as plain:
        pass
    assert 0 < plain.queue()._queue.sleep_when_free < QUEUE_LOOK_SECONDS
    assert 0 < plain._queue.progress_update_sleep_when_free < PROGRESS_LOOK_SECONDS
    with viewing(tmp_path) as view:
        queue = view.gradio.get_blocks()._queue
        assert (queue.sleep_when_free, queue.progress_update_sleep_when_free) == (
            QUEUE_LOOK_SECONDS, PROGRESS_LOOK_SECONDS
        )  # fmt: skip
