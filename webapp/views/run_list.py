"""The list of runs, and several runs side by side, as HTML and as rows of a chart. Knows facts, no database."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from markupsafe import Markup

from models.domain.job import TERMINAL, JobKind, JobState
from models.domain.run import RunCompared, RunSeen
from webapp.views.curve import sparkline
from webapp.views.markup import duration, loss, render
from webapp.views.run_words import KINDS, STATES, differing, name_of, phase_word, state_word

FILTERED_KINDS = (JobKind.TRAIN, JobKind.MERGE, JobKind.ADD_BASE, JobKind.CHECK_DATA)
MANY = {
    JobKind.TRAIN: "Trainings",
    JobKind.MERGE: "Merges",
    JobKind.ADD_BASE: "Base imports",
    JobKind.CHECK_DATA: "Data checks",
}


def live(name: str, content: Markup) -> Markup:
    """Content that `live.js` shows in the part of the page with this name.

    Gradio changes what it shows in place and never looks into a template: an element of another name is replaced whole.
    """
    mark = sha256(content.encode()).hexdigest()[:12]
    return render("runs_live.html", name=name, content=content, mark=mark)


def runs_list(
    runs: Sequence[RunSeen], *, asked: Any, counts: Mapping[str, int], pages: int, is_filtered: bool, most: int
) -> Markup:
    """`asked` has `kind`, `state`, `search` and `page`."""
    return render(
        "runs_list.html",
        asked=asked,
        runs=[run_row(run) for run in runs],
        kinds=[("", "All"), *((kind.value, MANY[kind]) for kind in FILTERED_KINDS)],
        states=[
            ("", "All", sum(counts.values())),
            *((state.value, word.capitalize(), counts.get(state, 0)) for state, word in STATES.items()),
        ],
        pages=pages,
        is_filtered=is_filtered,
        most_compared=most,
    )


def run_row(run: RunSeen) -> dict[str, Any]:
    """What a row of the list says of a run."""
    row = run.row
    is_live = JobState(row.state) not in TERMINAL
    return {
        "id": row.id,
        "name": name_of(row),
        "kind": KINDS[JobKind(row.kind)],
        "owner": row.owner,
        "base": row.base_name,
        "dataset": row.dataset_name,
        "state": row.state,
        "word": state_word(row),
        "is_live": is_live,
        "share": share_of(run),
        "left": run.seconds_left,
        "now": _now(run),
        "spark": sparkline(run.spark),
        "last_loss": loss(run.spark[-1][1]) if run.spark else None,
        "seconds": run.seconds,
        "started_at": row.started_at,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "can_compare": row.kind == JobKind.TRAIN,
        "sweep_id": row.sweep_id,
        "sweep_name": row.sweep_name,
    }


def share_of(run: RunSeen) -> float | None:
    """From 0 to 1; None where nobody knows yet."""
    row = run.row
    if row.state == JobState.SUCCEEDED:
        return 1.0
    return min(1.0, row.done / row.total) if row.done is not None and row.total else None


def steps_of(run: RunSeen) -> str:
    """12 of 300 steps; empty where nothing was counted."""
    row = run.row
    if row.done is None:
        return ""
    return f"{row.done:,} of {row.total:,} {row.unit}" if row.total else f"{row.done:,} {row.unit}"


def compared(runs: Sequence[RunCompared], *, which: str, smoothing: float) -> Markup:
    """The heading above the curves with what they can show, or what is missing. `which` is a key of LOSSES."""
    return render(
        "runs_compared.html", runs=runs, which=which, smoothing=smoothing,
        has_held_out=any(each.held_out for each in runs),
    )  # fmt: skip


def differences(runs: Sequence[RunCompared]) -> Markup:
    """What came of each run, and the settings that are not the same in all."""
    rows = [each.run.row for each in runs]
    facts = [
        run_row(each.run)
        | {
            "label": label,
            "steps": steps_of(each.run) or "–",
            "last_loss": each.train[-1].mean if each.train else None,
            "held_out": each.held_out[-1][1] if each.held_out else None,
            "best": min((value for _, value in each.held_out), default=None),
        }
        for each, label in zip(runs, labels(runs), strict=True)
    ]
    return render("runs_differ.html", runs=facts, differing=differing(rows))


def labels(runs: Sequence[RunCompared]) -> list[str]:
    """Names that tell the runs apart: two of one name get the end of their ids."""
    names = [name_of(each.run.row) for each in runs]
    often = Counter(names)
    return [
        f"{name} ({each.run.row.id[-4:]})" if often[name] > 1 else name for name, each in zip(names, runs, strict=True)
    ]


def _now(run: RunSeen) -> str:
    row = run.row
    match row.state:
        case JobState.RUNNING:
            parts = [phase_word(row), steps_of(run)]
            if run.seconds_left is not None:
                parts.append(f"about {duration(run.seconds_left)} left")
            return " · ".join(part for part in parts if part)
        case JobState.QUEUED:
            return phase_word(row, run.place)
        case JobState.FAILED:
            return (row.error or {}).get("message", "")
        case _:
            return steps_of(run)
