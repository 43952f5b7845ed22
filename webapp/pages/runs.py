"""The list of runs, and runs side by side (/runs?compare=a,b). The address is the page's only state."""

from typing import Any

import gradio as gr

from webapp.actions.show_runs import MOST_COMPARED, RunsAsked, compare_runs, list_runs
from webapp.deps import Deps
from webapp.pages.overlay import drawn, line_of, overlay_plot
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views import run_list
from webapp.views.markup import render
from webapp.views.run_charts import smoothing_of

REFRESH_SECONDS = 2


def build(deps: Deps) -> None:
    gr.HTML(render("runs_place.html", name="runs"), padding=False, apply_default_css=False)
    plot = overlay_plot()
    gr.HTML(render("runs_place.html", name="runs-differ"), padding=False, apply_default_css=False)
    list_source = gr.HTML(padding=False, elem_classes="tr-hidden")
    differ_source = gr.HTML(padding=False, elem_classes="tr-hidden")
    again = gr.Button("Ask again", elem_id="runs-ask", elem_classes="tr-hidden")
    clock = gr.Timer(REFRESH_SECONDS)

    def look(request: gr.Request) -> tuple[Any, ...]:
        compare = asked(request, "compare")
        if compare:
            return compared(request, compare.split(","))
        wish = RunsAsked.of(
            kind=asked(request, "kind"),
            state=asked(request, "state"),
            search=asked(request, "q"),
            page=asked(request, "page"),
        )
        seen = list_runs(deps, caller(request), wish)
        listed = run_list.runs_list(
            seen.runs, asked=seen.asked, counts=seen.counts, pages=seen.pages, is_filtered=seen.is_filtered,
            most=MOST_COMPARED,
        )  # fmt: skip
        return run_list.live("runs", listed), gr.skip(), gr.skip(), gr.Timer(active=seen.is_moving)

    def compared(request: gr.Request, ids: list[str]) -> tuple[Any, ...]:
        runs = compare_runs(deps, caller(request), ids)
        which, factor = line_of(request), smoothing_of(asked(request, "smooth"))
        return (
            run_list.live("runs", run_list.compared(runs, which=which, smoothing=factor)),
            drawn(runs, which, factor),
            run_list.live("runs-differ", run_list.differences(runs)),
            gr.Timer(active=any(run.run.row.finished_at is None for run in runs)),
        )

    outputs = [list_source, plot, differ_source, clock]
    on_load(look, outputs)
    on(again.click, look, None, outputs)
    on(clock.tick, look, None, outputs)


PAGE = Page(path="/runs", title="Runs", build=build, place=3)
