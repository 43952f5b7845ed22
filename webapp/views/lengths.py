"""How long a dataset's sequences are, as a small picture made on the server, and what a maximum length does to them.

Knows counts (`models.domain.reports.Length`), no rows and no base. Sizes and colours are CSS classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from models.domain.reports import Length
from webapp.views.curve import round_up
from webapp.views.markup import number, render

BARS = 24
WIDTH, HEIGHT, FLOOR = 320, 96, 80  # of the drawing; bars stand on FLOOR and reach up to TOP
TOP = 14
LOWEST_BAR = 1.5  # however few sequences: a bar that is there can be seen
TAIL = 1.5  # times the 99th percentile: what is longer stands in one last bar


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: where it stands in the drawing, whether it lies beyond the maximum length, and its words."""

    x: float
    y: float
    width: float
    height: float
    is_over: bool
    said: str


def histogram(lengths: Sequence[Length], *, max_length: int | None = None) -> Markup:
    """The picture, with a mark at `max_length` where that lies inside; nothing where nothing was counted."""
    if not lengths:
        return Markup("")
    longest = lengths[-1].tokens
    end = _end(lengths, max_length)
    step = max(1, -(-end // BARS))
    end = step * BARS
    counts = [0] * BARS
    for each in lengths:
        counts[min(BARS - 1, (each.tokens - 1) // step)] += each.sequences
    mark = max_length if max_length is not None and max_length <= end else None
    return render(
        "lengths.html", bars=_bars(counts, step, longest, max_length), said=sentence(lengths, max_length),
        mark=mark, mark_x=round((mark or 0) / end * WIDTH, 1), is_mark_right=(mark or 0) > 0.6 * end,
        end=f"{number(end)} and more" if longest > end else number(end), width=WIDTH, height=HEIGHT, floor=FLOOR,
        top=TOP,
    )  # fmt: skip


def sentence(lengths: Sequence[Length], max_length: int | None = None) -> str:
    """What the picture shows, for who does not see it."""
    sequences = sum(each.sequences for each in lengths)
    words = (
        f"Lengths of {number(sequences)} sequences: half have up to {number(percentile(lengths, 50))} tokens, "
        f"99 % up to {number(percentile(lengths, 99))}, the longest {number(lengths[-1].tokens)}."
    )
    if max_length is None:
        return words
    over = sequences - sequences_within(lengths, max_length)
    return f"{words} {number(over)} {'is' if over == 1 else 'are'} longer than {number(max_length)}."


def percentile(lengths: Sequence[Length], share: float) -> int:
    """The smallest length that `share` percent of the sequences do not exceed; 0 where there are none."""
    needed = share / 100 * sum(each.sequences for each in lengths)
    seen = 0
    for each in lengths:
        seen += each.sequences
        if seen >= needed:
            return each.tokens
    return lengths[-1].tokens if lengths else 0


def sequences_within(lengths: Sequence[Length], max_length: int) -> int:
    return sum(each.sequences for each in lengths if each.tokens <= max_length)


def together(each: Iterable[Sequence[Length]]) -> tuple[Length, ...]:
    """The lengths of several datasets as those of one."""
    sums: dict[int, list[int]] = {}
    for lengths in each:
        for one in lengths:
            found = sums.setdefault(one.tokens, [0, 0, 0])
            found[0] += one.sequences
            found[1] += one.total_tokens
            found[2] += one.trained_tokens
    return tuple(
        Length(tokens=tokens, sequences=found[0], total_tokens=found[1], trained_tokens=found[2])
        for tokens, found in sorted(sums.items())
    )


def _end(lengths: Sequence[Length], max_length: int | None) -> int:
    """Where the picture ends: at the longest, but a few very long rows must not press all others into one bar."""
    longest = lengths[-1].tokens
    end = min(longest, int(TAIL * percentile(lengths, 99)))
    if max_length is not None and max_length <= longest:
        end = max(end, round(1.1 * max_length))
    return max(BARS, int(round_up(end)))


def _bars(counts: Sequence[int], step: int, longest: int, max_length: int | None) -> list[Bar]:
    highest, width = max(counts), WIDTH / BARS
    bars = []
    for place, count in enumerate(counts):
        if not count:
            continue
        first, last = place * step + 1, (place + 1) * step
        if place == BARS - 1:
            last = max(last, longest)
        height = max(LOWEST_BAR, count / highest * (FLOOR - TOP))
        bars.append(
            Bar(
                x=round(place * width + 1, 2), y=round(FLOOR - height, 2), width=round(width - 2, 2),
                height=round(height, 2), is_over=max_length is not None and first > max_length,
                said=f"{number(first)} to {number(last)} tokens: {number(count)}",
            )
        )  # fmt: skip
    return bars
