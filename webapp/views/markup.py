"""Turns templates and facts into HTML. Every value is escaped here, so a name is never markup (S11).

Pages put nothing into `gr.HTML` that did not come from here; the templates lie in `webapp/templates`.
"""

from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from models.domain.job import JobState

SHAPES = {
    JobState.QUEUED: "○",
    JobState.RUNNING: "◐",
    JobState.SUCCEEDED: "●",
    JobState.FAILED: "✕",
    JobState.CANCELLED: "–",
}
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def render(template: str, **facts: Any) -> Markup:
    """The template's HTML. An unknown name in it raises, instead of showing nothing."""
    return Markup(_ENVIRONMENT.get_template(template).render(**facts))


def chip(state: str, word: str | None = None) -> Markup:
    """A state as a word, a colour and a shape; never colour alone."""
    shape = SHAPES.get(JobState(state)) if state in list(JobState) else "•"
    return Markup('<span class="tr-chip tr-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        state, shape, word or state
    )


def when(at: datetime | None) -> Markup:
    """A time for people; `app.js` makes it relative ("4 min ago"), the exact time shows on hover."""
    if at is None:
        return Markup("–")
    at = at.astimezone(UTC)
    exact = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), exact, exact[:16])


def size(count: int | None) -> str:
    """Bytes in the largest unit that leaves at least one digit: 1.9 GB, 81 MB."""
    if count is None:
        return "–"
    for unit, name in _UNITS:
        if count >= unit:
            value = count / unit
            return f"{value:.1f} {name}" if value < 10 else f"{value:.0f} {name}"
    return f"{count} B"


def number(count: float | None) -> str:
    """With thousands separators: 12,345."""
    return "–" if count is None else f"{count:,.0f}"


def short_number(count: float | None) -> str:
    """4.9 M, 135 M, 1.2 B; exact below ten thousand."""
    if count is None:
        return "–"
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= unit and count >= 10_000:
            value = count / unit
            return f"{value:.1f} {name}" if value < 10 else f"{value:.0f} {name}"
    return f"{count:,.0f}"


def loss(value: float | None) -> str:
    """Four significant digits."""
    return "–" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """14 min, 2 h 5 min, 45 s."""
    if seconds is None:
        return "–"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


_ENVIRONMENT = Environment(
    loader=PackageLoader("webapp"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,  # it would look at the file's time for each of the Train page's 70 notes
)
_ENVIRONMENT.filters.update(
    when=when, size=size, number=number, short_number=short_number, loss=loss, duration=duration, chip=chip
)
