"""The list of datasets."""

import gradio as gr

from webapp.deps import Deps
from webapp.pages.page import Page


def build(deps: Deps) -> None:
    gr.HTML('<div class="tr"><h1>Datasets</h1></div>')


PAGE = Page(path="/datasets", title="Datasets", build=build, place=1)
