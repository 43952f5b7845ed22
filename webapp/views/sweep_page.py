"""A sweep as HTML: its runs in one table, with what of their differences is chance. Knows facts, no database."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from models.domain.job import JobState
from models.domain.sweeps import SEEDS
from models.domain.swept import SweepSeen, SweptRun, SweptSetting
from webapp.views.fields import in_words
from webapp.views.markup import loss, render
from webapp.views.run_charts import PALETTE
from webapp.views.run_list import run_row, steps_of
from webapp.views.run_words import FIELD_OF_PATH, STATES, is_in_use, title_of_setting


def in_order(seen: SweepSeen) -> list[SweptRun]:
    """As they were queued while some move, so that no row jumps; the best first once all have ended."""
    if seen.is_moving:
        return list(seen.runs)

    def place(run: SweptRun) -> tuple[bool, float, int]:
        return run.standing is None, run.standing.mean if run.standing else 0.0, run.number

    return sorted(seen.runs, key=place)


def head(seen: SweepSeen, *, which: str, smoothing: float) -> Markup:
    """Name, how many runs are where, and what can be done about it."""
    counts = seen.counts
    best = next((run for run in in_order(seen) if run.seen.run.row.adapter_name and run.standing), None)
    ended = sum(count for state, count in counts.items() if state not in (JobState.QUEUED, JobState.RUNNING))
    return render(
        "sweep_head.html",
        sweep=seen,
        states=[(state, STATES[JobState(state)], count) for state, count in counts.items()],
        waiting=counts.get(JobState.QUEUED, 0),
        ended=ended,
        varied=", ".join(title_of_setting(knob["path"]) for knob in seen.knobs),
        best=None
        if seen.is_moving or best is None
        else f"/playground?models={quote(best.seen.run.row.adapter_name or '')}",
        compare=",".join(run.seen.run.row.id for run in in_order(seen)[: len(PALETTE)]),
        most=len(PALETTE),
        which=which,
        smoothing=smoothing,
        has_held_out=seen.by_held_out,
    )


def table(seen: SweepSeen) -> Markup:
    paths = [knob["path"] for knob in seen.knobs]
    return render(
        "sweep_table.html",
        sweep=seen,
        titles=[title_of_setting(path) for path in paths],
        rows=[_row(run, paths, place) for place, run in enumerate(in_order(seen), 1)],
        settings=[_setting(one, paths) for one in seen.settings] if seen.spread is not None else [],
        varied=[title_of_setting(path) for path in paths if path not in SEEDS],
        about_chance=_about_chance(seen),
        by="held-out loss" if seen.by_held_out else "training loss",
        is_data_varied=any(path.startswith("data.") for path in paths),
    )


def gone(sentence: str) -> Markup:
    return render("run_gone.html", sentence=sentence)


def _row(run: SweptRun, paths: Sequence[str], place: int) -> dict[str, Any]:
    row = run.seen.run
    return run_row(row) | {
        "number": run.number,
        "line": place if place <= len(PALETTE) else 0,
        "values": [_value(path, run.values.get(path), row.row.spec) for path in paths],
        "steps": steps_of(row) or "–",
        "train": run.train_loss,
        "held_out": run.held_out,
        "speed": run.tokens_per_second,
        "is_best": run.standing is not None and run.standing.behind == 0,
        "is_chance": run.standing is not None and run.standing.is_inside,
        "behind": f"+{loss(run.standing.behind)}" if run.standing and run.standing.behind else None,
        "why": (row.row.error or {}).get("message", ""),
    }


def _setting(one: SweptSetting, paths: Sequence[str]) -> dict[str, Any]:
    """Runs of the same values, whatever their seeds."""
    shown = [_value(path, one.values.get(path), one.spec) for path in paths if path not in SEEDS]
    return {
        "values": shown, "runs": one.runs, "mean": one.mean, "spread": one.spread, "is_best": one.behind == 0,
        "behind": f"+{loss(one.behind)}", "is_chance": one.is_inside,
    }  # fmt: skip


def _value(path: str, value: Any, spec: Mapping[str, Any]) -> str:
    if not is_in_use(path, spec):
        return "–"
    field = FIELD_OF_PATH.get(path)
    return in_words(field, value) if field is not None else str(value)


def _about_chance(seen: SweepSeen) -> str:
    """What the seeds say about the differences."""
    if seen.spread is not None:
        return (
            f"Runs that differ by seed alone lie up to {loss(seen.spread)} apart. A difference to the best that is no "
            "larger may be chance; it is shown in grey."
        )
    if any("seed" in knob["path"] for knob in seen.knobs):
        return "How much of a difference is chance is known once two runs that differ by seed alone have losses."
    return "How much of a difference is chance is not known here: vary the seed, too, to see it."
