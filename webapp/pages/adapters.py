"""The list of adapters and of merges. The address is the page's only state."""

import gradio as gr

from webapp.actions.browse_adapters import ShelfAsked, browse_adapters
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views.adapter_list import adapters_list
from webapp.views.markup import render
from webapp.views.run_list import live


def build(deps: Deps) -> None:
    gr.HTML(render("runs_place.html", name="adapters"), padding=False, apply_default_css=False)
    source = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-hidden")
    again = gr.Button("Ask again", elem_id="adapters-ask", elem_classes="tr-hidden")

    def look(request: gr.Request) -> str:
        wish = ShelfAsked.of(kind=asked(request, "show"), search=asked(request, "q"), page=asked(request, "page"))
        seen = browse_adapters(deps, caller(request), wish)
        listed = adapters_list(
            asked=seen.asked, adapters=seen.adapters, merges=seen.merges, adapter_count=seen.adapter_count,
            merge_count=seen.merge_count, pages=seen.pages,
        )  # fmt: skip
        return live("adapters", listed)

    on_load(look, source)
    on(again.click, look, None, source)


PAGE = Page(path="/adapters", title="Adapters", build=build, place=4)
