"""A run's curves as the rows of charts: which lines stand in which chart, raw and smoothed. Knows facts only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.domain.run import Bucket, Curve, RunCompared, RunSeen
from models.domain.series import SMOOTHING, points, ratio, smoothed
from webapp.views.curve import chart, limits
from webapp.views.run_list import labels

X, Y, LINE = "step", "value", "line"
SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)  # 0 is off
CHARTS = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "speed": "tokens a second",
    "memory": "peak memory, GB",
    "margin": "margin",
    "logp": "log-probability",
    "kl": "distance (KL), nats",
}
ALWAYS = ("learning_rate", "grad_norm", "speed")  # beside the loss; the others where a run has them
COLOURS = {
    "training": "#a5b4fc", "training, smoothed": "#4f46e5", "held-out": "#d97706", "learning rate": "#0284c7",
    "gradient norm": "#c4b5fd", "gradient norm, smoothed": "#7c3aed", "tokens a second": "#059669",
    "peak memory": "#db2777", "better answers": "#059669", "worse answers": "#dc2626", "margin": "#a5b4fc",
    "margin, smoothed": "#4f46e5", "distance": "#0284c7",
}  # fmt: skip
# Of the runs beside each other, as .tr-line-1 ... in the stylesheet; told apart by their names and places, too.
PALETTE = ("#4f46e5", "#d97706", "#059669", "#db2777", "#0284c7", "#7c3aed", "#65a30d", "#b45309")
OTHERS = "#9ca3af"
LOSSES = {"train": "training loss", "held-out": "held-out loss"}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """`value` as `gr.LinePlot` sends it; the axes end at round numbers."""

    value: Any
    x_lim: list[float | None]
    y_lim: list[float | None]

    @property
    def is_empty(self) -> bool:
        return not self.value["data"]


def smoothing_of(asked: str) -> float:
    """The factor that an address asks for; the usual one where it makes no sense."""
    return next((one for one in SMOOTHINGS if asked == f"{one:g}"), SMOOTHING)


def charts(run: RunSeen, series: Mapping[str, Sequence[Bucket]], factor: float = SMOOTHING) -> dict[str, Chart]:
    """Every chart of CHARTS, each over all the steps there will be; one without points `is_empty`."""
    last = max((one[-1].last for one in series.values() if one), default=1)
    x_lim: list[float | None] = [0.0, float(max(run.row.total or 0, last))]
    raw = {name: points(one) for name, one in series.items()}
    lines: dict[str, dict[str, Curve]] = {
        "loss": {"training": raw.get("train_loss", [])}
        | _smoothed("training", series.get("train_loss", []), factor)
        | {"held-out": raw.get("eval_loss", [])},
        "learning_rate": {"learning rate": raw.get("learning_rate", [])},
        "grad_norm": {"gradient norm": raw.get("grad_norm", [])}
        | _smoothed("gradient norm", series.get("grad_norm", []), factor),
        "speed": {"tokens a second": speeds(series)},
        "memory": {"peak memory": [(step, value / 1e9) for step, value in raw.get("peak_memory_bytes", [])]},
        "margin": {"margin": raw.get("margin", [])}
        | _smoothed("margin", series.get("margin", []), factor)
        | {"held-out": raw.get("eval_margin", [])},
        "logp": {
            "better answers": smoothed(series.get("chosen_logp", []), factor),
            "worse answers": smoothed(series.get("rejected_logp", []), factor),
        },
        "kl": {"distance": smoothed(series.get("kl", []), factor)},
    }
    return {name: _chart(found, x_lim, from_zero=name not in ("loss", "memory")) for name, found in lines.items()}


def speeds(series: Mapping[str, Sequence[Bucket]]) -> Curve:
    """Tokens a second: of all tokens where the run counts them, else of those that carry loss."""
    return ratio(series.get("tokens") or series.get("trained_tokens", []), series.get("step_seconds", []))


def overlay(runs: Sequence[RunCompared], which: str, factor: float) -> Chart:
    """One line a run: its training loss, smoothed, or its losses on held-out rows."""
    lines = {
        label: each.held_out if which == "held-out" else smoothed(each.train, factor)
        for label, each in zip(labels(runs), runs, strict=True)
    }
    last = max((line[-1][0] for line in lines.values() if line), default=1)
    return _chart(lines, [0.0, float(max(last, *(each.run.row.total or 0 for each in runs)))], from_zero=False)


def colours_of(runs: Sequence[RunCompared]) -> dict[str, str]:
    """By label: the first ones in the colours of PALETTE, all others grey."""
    return {label: PALETTE[place] if place < len(PALETTE) else OTHERS for place, label in enumerate(labels(runs))}


def _smoothed(name: str, buckets: Sequence[Bucket], factor: float) -> dict[str, Curve]:
    return {f"{name}, smoothed": smoothed(buckets, factor)} if factor else {}


def _chart(lines: Mapping[str, Curve], x_lim: list[float | None], *, from_zero: bool) -> Chart:
    drawn = {name: line for name, line in lines.items() if line}
    return Chart(value=chart(drawn, X, Y, LINE), x_lim=x_lim, y_lim=limits(drawn, from_zero=from_zero))
