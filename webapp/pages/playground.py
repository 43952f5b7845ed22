"""The Playground: one prompt before up to four models side by side.

The page is a frame; `static/playground.js` fills it from our own interface. Gradio's queue would carry every token of
every pane twice and grew slow at fifty streams (5.7 s to the first token, our own event stream 0.5 s at two hundred).
"""

import gradio as gr

from webapp.actions.conversations import MOST_PANES
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.views.markup import render


def build(deps: Deps) -> None:
    frame = render("playground.html", most_panes=MOST_PANES)
    gr.HTML(frame, padding=False, apply_default_css=False)  # ours alone decides how it looks


PAGE = Page(path="/playground", title="Playground", build=build, place=5)
