"""What the process remembers of an open tab: the values that pages keep in it, and little else."""

from pathlib import Path

import gradio as gr

from tests.webapp.view import PREDICT, event, viewing
from webapp.mounting import MOST_SESSIONS
from webapp.pages.wiring import on


def test_a_tab_keeps_its_values_and_nothing_else_and_the_oldest_tabs_are_forgotten(tmp_path: Path):
    with gr.Blocks() as demo:
        pass
    with demo.route("Count", "/count"):
        counted, out, button = gr.State(0), gr.HTML(), gr.Button()

        def count(so_far: int) -> tuple[int, str]:
            return so_far + 1, f"{so_far + 1}" + " " * 100_000

        on(button.click, count, counted, [counted, out])
    with viewing(tmp_path, demo, ("/count",)) as view:
        tabs = view.gradio.state_holder
        with view.browser(view.house.person()) as browser:
            said = [browser.post(PREDICT, json=event(max(view.fns), [None])).json()["data"][1] for _ in range(2)]
        assert [words.strip() for words in said] == ["1", "2"]
        (tab,) = tabs.session_data.values()
        assert list(tab.state_data.values()) == [2]
        assert set(tab.config_values) == {counted._id}  # Gradio's own has all components and the last value of each
        for number in range(MOST_SESSIONS):
            tabs[f"tab{number}"]
        assert len(tabs.session_data) == MOST_SESSIONS
        assert tab not in tabs.session_data.values()
