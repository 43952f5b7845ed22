"""The list of runs, and runs side by side (/runs?compare=a,b). The address is the page's only state."""

from typing import Any

import gradio as gr

from webapp.actions.show_runs import MOST_COMPARED, RunsAsked, compare_runs, list_runs
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views import run as run_view
from webapp.views import run_list
from webapp.views.curve import chart, limits
from webapp.views.markup import render

REFRESH_SECONDS = 2
COLOURS = ("#4f46e5", "#d97706", "#059669", "#db2777", "#0284c7", "#7c3aed")  # as .tr-line-1 ... in the stylesheet


def build(deps: Deps) -> None:
    gr.HTML(render("runs_place.html", name="runs"), padding=False, apply_default_css=False)
    overlay = gr.LinePlot(
        x=run_view.X, y=run_view.Y, color=run_view.LINE, x_title="step", y_title="training loss", color_title=" ",
        height=360, visible=False, show_label=False, elem_classes="tr-plot tr-overlay",
    )  # fmt: skip
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
        lines = run_list.losses(runs)
        x_end = max((run.run.row.total or 0 for run in runs), default=1) or 1
        plot = gr.LinePlot(
            value=chart(lines, run_view.X, run_view.Y, run_view.LINE),
            color_map=dict(zip(lines, COLOURS, strict=False)),
            x_lim=[0, x_end],
            y_lim=limits(lines, from_zero=False),
            visible=len(runs) > 1,
        )
        return (
            run_list.live("runs", run_list.compared(runs)),
            plot,
            run_list.live("runs-differ", run_list.differences(runs)),
            gr.Timer(active=any(run.run.row.finished_at is None for run in runs)),
        )

    outputs = [list_source, overlay, differ_source, clock]
    on_load(look, outputs)
    on(again.click, look, None, outputs)
    on(clock.tick, look, None, outputs)


PAGE = Page(path="/runs", title="Runs", build=build, place=3)
