"""A sweep: all of its runs in one chart and one table (/sweep?id=...). The address is the page's only state."""

from typing import Any

import gradio as gr
from markupsafe import Markup

from models.domain.errors import NotFound
from webapp.actions.show_sweep import show_sweep
from webapp.deps import Deps
from webapp.pages.overlay import drawn, line_of, overlay_plot
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views import sweep_page as view
from webapp.views.markup import render
from webapp.views.run_charts import smoothing_of
from webapp.views.run_list import live

REFRESH_SECONDS = 2


def build(deps: Deps) -> None:
    gr.HTML(render("runs_place.html", name="runs"), padding=False, apply_default_css=False)
    plot = overlay_plot()
    gr.HTML(render("runs_place.html", name="runs-differ"), padding=False, apply_default_css=False)
    head_source = gr.HTML(padding=False, elem_classes="tr-hidden")
    table_source = gr.HTML(padding=False, elem_classes="tr-hidden")
    again = gr.Button("Ask again", elem_id="runs-ask", elem_classes="tr-hidden")
    clock = gr.Timer(REFRESH_SECONDS)
    before = gr.State(None)  # what the chart shows now, so that it is drawn anew only when a step came

    def look(known: Any, request: gr.Request) -> tuple[Any, ...]:
        try:
            seen = show_sweep(deps, caller(request), asked(request, "id"))
        except NotFound:
            text = view.gone("There is no such sweep in this team. It may belong to another team.")
            nothing = live("runs-differ", Markup(""))
            return live("runs", text), gr.skip(), nothing, None, gr.Timer(active=False)
        which, factor = line_of(request), smoothing_of(asked(request, "smooth"))
        runs = [run.seen for run in view.in_order(seen)]
        stamp = [which, factor, *([run.run.row.id, run.run.row.done, run.run.row.state] for run in runs)]
        return (
            live("runs", view.head(seen, which=which, smoothing=factor)),
            gr.skip() if stamp == known else drawn(runs, which, factor, has_legend=False),
            live("runs-differ", view.table(seen)),
            stamp,
            gr.Timer(active=seen.is_moving),
        )

    outputs = [head_source, plot, table_source, before, clock]
    on_load(look, outputs, inputs=before)
    on(again.click, look, before, outputs)
    on(clock.tick, look, before, outputs)


PAGE = Page(path="/sweep", title="Sweep", build=build, section="/runs")
