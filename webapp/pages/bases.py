"""Base models: the list, imports with their progress, and the form with which administrators add one."""

import gradio as gr

from webapp.actions.show_bases import show_bases
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import caller, on, on_load
from webapp.views.bases_page import bases_form, bases_list
from webapp.views.markup import render
from webapp.views.run_list import live

LOOK_EVERY_SECONDS = 1.5


def build(deps: Deps) -> None:
    top = gr.HTML("", padding=False, apply_default_css=False)
    gr.HTML(render("runs_place.html", name="bases"), padding=False, apply_default_css=False)
    part = gr.HTML("", padding=False, elem_classes="tr-hidden")
    ask = gr.Button("Ask again", elem_id="bases-ask", elem_classes="tr-hidden")
    moving = gr.Timer(LOOK_EVERY_SECONDS, active=False)

    def open_form(request: gr.Request) -> str:
        return bases_form(show_bases(deps, caller(request)))

    def show(request: gr.Request) -> tuple[str, gr.Timer]:
        """The timer runs only while an import does."""
        page = show_bases(deps, caller(request))
        return live("bases", bases_list(page)), gr.Timer(LOOK_EVERY_SECONDS, active=page.is_moving)

    on_load(open_form, top)
    on_load(show, [part, moving])
    on(ask.click, show, None, [part, moving])
    on(moving.tick, show, None, [part, moving])


PAGE = Page(path="/bases", title="Base models", build=build)
