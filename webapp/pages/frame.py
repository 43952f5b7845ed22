"""The same top bar on every page, kept fresh while the page is open. Knows the pages' names, not their contents."""

from collections.abc import Sequence

import gradio as gr

from webapp.actions.show_pulse import show_pulse
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import caller, on
from webapp.views.markup import render

REFRESH_SECONDS = 5


def top_bar(deps: Deps, demo: gr.Blocks, page: Page, pages: Sequence[Page]) -> None:
    """Filled when the page loads; the counts follow the queue."""
    entries = [entry for entry in pages if entry.place is not None]
    here = page.section or page.path
    empty = render("top_bar.html", entries=entries, here=here, pulse=None)
    bar = gr.HTML(empty, padding=False, elem_classes="tr-bar-slot")
    # A menu that somebody has open is not replaced under their hand: equal HTML changes nothing.
    seen = gr.Timer(REFRESH_SECONDS)

    def fill(request: gr.Request) -> str:
        return render("top_bar.html", entries=entries, here=here, pulse=show_pulse(deps, caller(request)))

    on(demo.load, fill, None, bar)
    on(seen.tick, fill, None, bar)
