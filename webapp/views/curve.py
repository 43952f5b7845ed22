"""Curves as pictures: thinned without hiding anything, with axes that stay where they are. Knows numbers only."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from webapp.views.markup import loss, render

Points = Sequence[tuple[int, float]]

MOST_POINTS = 1000  # of one series in one chart: more makes a browser slow and shows no more
SPARK_POINTS = 60
SPARK_WIDTH, SPARK_HEIGHT, SPARK_EDGE = 120, 28, 2
_PER_BUCKET = 4  # first, lowest, highest, last
_NICE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_FLAT = 0.5  # a curve that never falls below this share of its top is shown without its way down to zero


def thin(points: Points, most: int = MOST_POINTS) -> list[tuple[int, float]]:
    """At most `most` points, in order. Each bucket keeps its first, lowest, highest and last: no spike is lost.

    Values that are not finite have no place in a picture and are left out.
    """
    finite = [point for point in points if math.isfinite(point[1])]
    if len(finite) <= most:
        return finite
    buckets = max(1, most // _PER_BUCKET)
    kept: list[tuple[int, float]] = []
    for number in range(buckets):
        bucket = finite[number * len(finite) // buckets : (number + 1) * len(finite) // buckets]
        values = [value for _, value in bucket]
        chosen = {0, values.index(min(values)), values.index(max(values)), len(bucket) - 1}
        kept.extend(bucket[index] for index in sorted(chosen))
    return kept


def sparkline(points: Points) -> Markup:
    """A loss curve in the height of a table row; nothing where there are no two points."""
    kept = thin(points, SPARK_POINTS)
    if len(kept) < 2:
        return Markup("")
    steps, values = [step for step, _ in kept], [value for _, value in kept]
    low, high = min(values), max(values)
    across = (SPARK_WIDTH - 2 * SPARK_EDGE) / ((steps[-1] - steps[0]) or 1)
    down = (SPARK_HEIGHT - 2 * SPARK_EDGE) / ((high - low) or 1)
    line = " ".join(
        f"{SPARK_EDGE + (step - steps[0]) * across:.1f},{SPARK_EDGE + (high - value) * down:.1f}"
        for step, value in kept
    )
    said = f"Training loss from {loss(values[0])} to {loss(values[-1])}"
    return render("run_spark.html", line=line, said=said, width=SPARK_WIDTH, height=SPARK_HEIGHT)


def chart(named: Mapping[str, Points], x: str, y: str, color: str) -> Any:
    """The rows of a line chart as `gr.LinePlot` sends them: (step, value, which line)."""
    rows = [[step, value, name] for name, points in named.items() for step, value in thin(points)]
    kinds = {x: "quantitative", y: "quantitative", color: "nominal"}
    return {"columns": [x, y, color], "data": rows, "datatypes": kinds, "mark": "line"}


def limits(named: Mapping[str, Points], *, from_zero: bool = True) -> list[float | None]:
    """[low, high] of an axis in round numbers, so that it moves seldom while a curve grows."""
    values = [value for points in named.values() for _, value in points if math.isfinite(value)]
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    if high <= 0:
        return [round_down(low), 0.0] if low < 0 else [0.0, 1.0]
    if low > _FLAT * high and not from_zero:
        room = round_up((high - low) or high * 0.1)
        return [max(0.0, (math.ceil(low / room) - 1) * room), (math.floor(high / room) + 1) * room]
    return [min(0.0, round_down(low)), round_up(high)]


def round_up(value: float) -> float:
    """The next round number that is not smaller."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((nice * power for nice in _NICE if nice * power >= value * (1 - 1e-9)), 10 * power)


def round_down(value: float) -> float:
    """The same below zero; 0 for what is above it."""
    return -round_up(-value) if value < 0 else 0.0
