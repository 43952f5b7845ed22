"""One run: how far it is, its curves, its log, its events, its settings, and what it leads to."""

from typing import Any

import gradio as gr
from markupsafe import Markup

from models.domain.errors import NotFound
from models.domain.job import TERMINAL, JobKind, JobState
from webapp.actions.show_run import RunDetail, run_curves, show_run
from webapp.actions.trackers import Tracked, titled
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views import run as view
from webapp.views.markup import render
from webapp.views.run_charts import ALWAYS, CHARTS, COLOURS, LINE, Chart, X, Y, charts, smoothing_of
from webapp.views.run_list import live
from webapp.views.run_outcome import outcome_of

REFRESH_SECONDS = 1


def build(deps: Deps) -> None:
    gr.HTML(render("runs_place.html", name="run"), padding=False, apply_default_css=False)
    with gr.Column(visible=False, elem_classes="tr-plots") as figures:
        plots = {"loss": _plot("loss", 300)}
        with gr.Row():
            plots |= {name: _plot(name, 190) for name in ALWAYS}
        with gr.Row():
            plots |= {name: _plot(name, 190, visible=False) for name in CHARTS if name not in plots}
    gr.HTML(render("runs_place.html", name="run-below"), padding=False, apply_default_css=False)
    head_source = gr.HTML(padding=False, elem_classes="tr-hidden")
    below_source = gr.HTML(padding=False, elem_classes="tr-hidden")
    again = gr.Button("Ask again", elem_id="run-ask", elem_classes="tr-hidden")
    clock = gr.Timer(REFRESH_SECONDS)
    # What the charts show now, so that they are drawn anew only when a step came. Lost with a restart: then once more.
    drawn = gr.State(None)

    def look(before: Any, request: gr.Request) -> tuple[Any, ...]:
        run_id = asked(request, "id")
        try:
            seen = show_run(deps, caller(request), run_id)
        except NotFound:
            text = view.gone("There is no such run in this team. It may have been deleted, or belong to another team.")
            return (
                live("run", text), live("run-below", Markup("")), gr.Column(visible=False),
                *(gr.skip() for _ in plots), None, gr.Timer(active=False),
            )  # fmt: skip
        row, before = seen.run.row, before or {}
        factor = smoothing_of(asked(request, "smooth"))
        # A long run is drawn anew when there is something to see: each thousandth of what it has done.
        stamp = [row.fence, (row.done or 0) // max(1, (row.done or 0) // 1000), row.phase, row.state, factor]
        now: dict[str, Any] = before
        found: dict[str, Chart] = {}
        if row.kind == JobKind.TRAIN and seen.recent and stamp != before.get("stamp"):
            found = charts(seen.run, run_curves(deps, caller(request), run_id), factor)
            now = {name: [chart.x_lim, chart.y_lim] for name, chart in found.items()}
            # A chart that gets new limits draws its old points once more: the next look sends the points again.
            now["stamp"] = stamp if all(now[name] == before.get(name) for name in found) else None
        return (
            live("run", _head(seen, factor if now else None)),
            live("run-below", _below(seen)),
            gr.Column(visible=bool(now)),
            *(_update(found.get(name), before.get(name)) for name in plots),
            now,
            gr.Timer(active=JobState(row.state) not in TERMINAL or ("stamp" in now and now["stamp"] is None)),
        )

    outputs = [head_source, below_source, figures, *plots.values(), drawn, clock]
    on_load(look, outputs, inputs=drawn)
    on(again.click, look, drawn, outputs)
    on(clock.tick, look, drawn, outputs)


def _plot(name: str, height: int, *, visible: bool = True) -> gr.LinePlot:
    return gr.LinePlot(
        x=X, y=Y, color=LINE, color_map=COLOURS, x_title="step", y_title=CHARTS[name], color_title=" ",
        height=height, label=CHARTS[name], show_label=False, min_width=220, elem_classes="tr-plot", visible=visible,
        colors_in_legend=None if name in ("loss", "margin", "logp") else [],
    )  # fmt: skip


def _update(chart: Chart | None, limits: Any) -> Any:
    """Only what changed: new limits draw a chart anew, new points alone move its line."""
    if chart is None:
        return gr.skip()
    if limits == [chart.x_lim, chart.y_lim]:
        return gr.LinePlot(value=chart.value)
    # What few runs have (memory, preferences) is not on the page until it has points.
    return gr.LinePlot(value=chart.value, x_lim=chart.x_lim, y_lim=chart.y_lim, visible=not chart.is_empty)


def _head(seen: RunDetail, smoothing: float | None) -> Any:
    return view.head(
        seen.run, may_change=seen.may_change, may_start=seen.may_start, recent=seen.recent, smoothing=smoothing,
        outcome=outcome_of(seen.run, seen.recent, seen.outcome, seen.held_seconds),
    )  # fmt: skip


def _below(seen: RunDetail) -> Any:
    return view.below(
        seen.run, events=seen.events, has_more=seen.has_more_events, log_tail=seen.log_tail, merges=seen.merges,
        samples=seen.samples, trackers=[_tracker(one) for one in seen.trackers],
    )  # fmt: skip


def _tracker(told: Tracked) -> dict[str, Any]:
    words = told.problem or ("it has all of this run" if told.is_done else "told as it goes")
    is_page = told.url is not None and told.url.startswith(("https://", "http://"))
    return {"title": titled(told), "href": told.url if is_page else None, "words": words}


PAGE = Page(path="/run", title="Run", build=build, section="/runs")
