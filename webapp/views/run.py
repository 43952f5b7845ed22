"""One run as HTML and as rows of charts. Knows facts, no database and no user's rights."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from models.domain.job import TERMINAL, JobKind, JobState
from models.domain.run import AnswerSeen, Curve, Made, RunSeen, Told
from models.domain.training import TrainingSpec
from webapp.views import train_yaml
from webapp.views.markup import render
from webapp.views.model_names import short_name
from webapp.views.run_charts import SMOOTHINGS
from webapp.views.run_list import run_row, share_of, steps_of
from webapp.views.run_outcome import Outcome
from webapp.views.run_words import KINDS, STATES, advice, event_words, name_of, phase_word, settings_of

NEWEST_ANSWERS = 3  # of a question; those before them are folded away
SHOWN_SAMPLE = 800  # characters; programs read all


def head(
    run: RunSeen,
    *,
    may_change: bool,
    may_start: bool = False,
    recent: Mapping[str, Curve],
    outcome: Outcome | None = None,
    smoothing: float | None = None,
) -> Markup:
    """Name, state, what it is doing now, what came of it, and what can be done about it.

    `smoothing` is the factor that the charts below are drawn with; None where there are none.
    """
    row = run.row
    is_live = JobState(row.state) not in TERMINAL
    train, held_out = recent.get("train_loss", []), recent.get("eval_loss", [])
    return render(
        "run_head.html",
        run=run_row(run),
        is_live=is_live,
        is_done=row.state == JobState.SUCCEEDED,
        is_training=row.kind == JobKind.TRAIN,
        may_change=may_change,
        is_stopping=row.cancel_requested_at is not None,
        can_keep=row.kind == JobKind.TRAIN and row.state == JobState.RUNNING and bool(train),
        question=_question(run),
        retry=_retry(run) if may_change else None,
        clone=f"/train?from={row.id}&change=1" if may_start and row.kind == JobKind.TRAIN else None,
        outcome=outcome,
        smoothing=smoothing,
        smoothings=SMOOTHINGS,
        links=_links(run),
        error=row.error if row.state == JobState.FAILED else None,
        advice=advice(row.error),
        now=phase_word(row, run.place) or _ended(run),
        steps=steps_of(run),
        share=share_of(run),
        left=run.seconds_left,
        seconds=run.seconds,
        last_loss=train[-1][1] if train else None,
        held_out=held_out[-1][1] if held_out else None,
        speed=_speed(recent, "tokens") or _speed(recent, "trained_tokens"),
        speed_of="Tokens a second" if recent.get("tokens") else "Trained tokens a second",
        peak_memory=memory[-1][1] if (memory := recent.get("peak_memory_bytes")) else None,
    )


def below(
    run: RunSeen,
    *,
    events: Sequence[Told],
    has_more: bool,
    log_tail: str | None,
    merges: Sequence[Made],
    samples: Sequence[AnswerSeen],
    trackers: Sequence[Mapping[str, Any]] = (),
) -> Markup:
    """Samples, events, log, settings and lineage."""
    told = [
        {
            "id": event.id,
            "at": event.at,
            "level": event.level,
            "words": event_words(event.kind, event.message, event.data),
        }
        for event in events
    ]
    return render(
        "run_below.html",
        run=run_row(run),
        is_live=JobState(run.row.state) not in TERMINAL,
        events=told,
        has_more=has_more,
        log=log_tail,
        is_training=run.row.kind == JobKind.TRAIN,
        questions=questions(samples),
        no_samples=None if samples else _no_samples(run),
        lineage=lineage(run, merges),
        settings=list(settings_of(run.row).items()),
        yaml=yaml_of(run),
        trackers=trackers,
    )


def gone(sentence: str) -> Markup:
    return render("run_gone.html", sentence=sentence)


def lineage(run: RunSeen, merges: Sequence[Made]) -> list[dict[str, Any]]:
    """From what it works on to what came of it, each with its page; `is_here` marks this run."""
    row = run.row
    steps: list[dict[str, Any]] = []

    def add(what: str, name: str | None, href: str | None = None, *, is_here: bool = False) -> None:
        if name:
            steps.append({"what": what, "name": name, "href": href, "is_here": is_here})

    add("Base model", row.base_name, "/bases")
    add("Dataset", row.dataset_name, f"/dataset?id={row.dataset_id}")
    if row.resumes:
        add("Retry of", "an earlier run", f"/run?id={row.resumes}")
    if row.kind == JobKind.MERGE and row.adapter_name:
        add("Adapter", short_name(row.adapter_name), f"/adapter?id={row.adapter_id}")
    add("This run", name_of(row), is_here=True)
    if row.kind == JobKind.TRAIN and row.adapter_name:
        add("Adapter", short_name(row.adapter_name), f"/adapter?id={row.adapter_id}")
    if row.merge_name:
        add("Merge", short_name(row.merge_name), f"/adapter?id={row.merge_id}")
    for made in merges:
        add("Merge", short_name(made.name), f"/adapter?id={made.id}")
    return steps


def yaml_of(run: RunSeen) -> str | None:
    """The settings as the Train page takes them; None for what is no training."""
    row = run.row
    if row.kind != JobKind.TRAIN:
        return None
    names = train_yaml.Names(base=row.base_name, training_file=row.dataset_name)
    return train_yaml.write(TrainingSpec.model_validate(row.spec), names)


def questions(samples: Sequence[AnswerSeen]) -> list[dict[str, Any]]:
    """Each held-out question with its answers, newest first: the last few, and those before them."""
    found: dict[int, list[AnswerSeen]] = {}
    for one in sorted(samples, key=lambda one: -one.step):
        found.setdefault(one.question, []).append(one)
    return [
        {
            "number": number,
            "prompt": _shown(answers[0].prompt),
            "reference": _shown(answers[0].reference),
            "newest": [_answer(one) for one in answers[:NEWEST_ANSWERS]],
            "earlier": [_answer(one) for one in answers[NEWEST_ANSWERS:]],
        }
        for number, answers in sorted(found.items())
    ]


def _answer(one: AnswerSeen) -> dict[str, Any]:
    text = _shown(one.answer)
    return {
        "step": one.step,
        "when": f"Step {one.step}" if one.step else "Before training",
        "text": text + " …" if one.is_cut and not text.endswith("…") else text,
    }


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_SAMPLE else text[: SHOWN_SAMPLE - 1] + "…"


def _no_samples(run: RunSeen) -> str:
    """Why none are shown."""
    data = run.row.spec.get("data", {})
    if not data.get("sample_rows", 1):
        return "Samples are switched off for this run."
    if not data.get("validation_file") and not data.get("validation_fraction", 1):
        return "No rows are held out in this run, so there is no question to sample."
    if JobState(run.row.state) in TERMINAL:
        return "This run took no samples."
    return "The first sample comes when step 1 is done: what the model answered before it."


def _question(run: RunSeen) -> str:
    name = name_of(run.row)
    if run.row.state == JobState.QUEUED:
        return f"Cancel {name}? It has not started yet."
    return f"Cancel {name}? What it has done so far is thrown away."


def _retry(run: RunSeen) -> str | None:
    row = run.row
    if row.state not in (JobState.FAILED, JobState.CANCELLED) or row.kind != JobKind.TRAIN:
        return None
    return f"/train?from={row.id}"


def _links(run: RunSeen) -> list[dict[str, str]]:
    """What to do with what came of it; the first is what most people want."""
    row = run.row
    if row.state not in (JobState.SUCCEEDED, JobState.CANCELLED):
        return []
    if row.kind == JobKind.TRAIN and row.adapter_id:
        return [
            {"word": "Open in playground", "href": f"/playground?models={quote(row.adapter_name or '')}"},
            {"word": "Open adapter", "href": f"/adapter?id={row.adapter_id}"},
        ]
    if row.merge_id:
        return [
            {"word": "Open in playground", "href": f"/playground?models={quote(row.merge_name or '')}"},
            {"word": "Open merge", "href": f"/adapter?id={row.merge_id}"},
        ]
    if row.kind == JobKind.ADD_BASE and row.state == JobState.SUCCEEDED:
        return [{"word": "Base models", "href": "/bases"}]
    if row.kind == JobKind.CHECK_DATA and row.dataset_id:
        return [{"word": "Open dataset", "href": f"/dataset?id={row.dataset_id}"}]
    return []


def _ended(run: RunSeen) -> str:
    row = run.row
    if row.state == JobState.CANCELLED and row.kind == JobKind.TRAIN and row.adapter_id:
        return "Cancelled; the adapter so far was kept"
    return f"{KINDS[JobKind(row.kind)]} {STATES[JobState(row.state)]}"


def _speed(recent: Mapping[str, Curve], what: str) -> float | None:
    """Of the recent steps together."""
    tokens, seconds = recent.get(what, []), dict(recent.get("step_seconds", []))
    total = sum(seconds.get(step, 0.0) for step, _ in tokens)
    return sum(count for _, count in tokens) / total if total else None
