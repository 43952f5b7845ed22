"""The chart in which several runs lie over each other, as the pages of runs and of a sweep share it."""

from collections.abc import Sequence

import gradio as gr

from models.domain.run import RunCompared
from webapp.pages.wiring import asked
from webapp.views.run_charts import LINE, LOSSES, PALETTE, X, Y, colours_of, overlay


def overlay_plot() -> gr.LinePlot:
    """One line a run; it comes once there are two."""
    return gr.LinePlot(
        x=X, y=Y, color=LINE, x_title="step", y_title="loss", color_title=" ", height=360, visible=False,
        show_label=False, elem_classes="tr-plot tr-overlay",
    )  # fmt: skip


def drawn(runs: Sequence[RunCompared], which: str, factor: float, *, has_legend: bool = True) -> gr.LinePlot:
    """The overlay of these runs as it is now."""
    chart, colours = overlay(runs, which, factor), colours_of(runs)
    return gr.LinePlot(
        value=chart.value, color_map=colours, x_lim=chart.x_lim, y_lim=chart.y_lim, y_title=LOSSES[which],
        colors_in_legend=list(colours)[: len(PALETTE)] if has_legend else [], visible=len(runs) > 1,
    )  # fmt: skip


def line_of(request: gr.Request) -> str:
    """Which of the losses the address asks for."""
    which = asked(request, "line")
    return which if which in LOSSES else "train"
