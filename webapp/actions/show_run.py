"""One run in full: what it is, how it goes, what it said, where it comes from and what it led to."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.db.store.team import TeamStore
from models.db.store.team_trackers import Tracked
from models.domain.access import Kind, Object, Principal, Verb, can
from models.domain.errors import NotFound
from models.domain.job import JobKind
from models.domain.run import AnswerSeen, Bucket, Curve, Made, RunSeen, Told
from webapp.actions.show_runs import seen_runs
from webapp.deps import Deps

SERIES = (
    "train_loss", "eval_loss", "learning_rate", "grad_norm", "trained_tokens", "tokens", "step_seconds",
    "peak_memory_bytes", "chosen_logp", "rejected_logp", "margin", "kl", "eval_margin",
)  # fmt: skip
EVENTS_SHOWN = 100
SAMPLES_SHOWN = 24  # the newest; and the first of each question
MOST_QUESTIONS = 4


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """`events` newest first, at most EVENTS_SHOWN. `recent` are the last steps of each series.

    `samples` newest first: SAMPLES_SHOWN, and the first of each question. `merges` were made of this run's adapter.
    `outcome` is what a training left beside its adapter; `held_seconds` for how long workers worked at it.
    `trackers` are those of the team that are told of it.
    """

    run: RunSeen
    events: tuple[Told, ...]
    has_more_events: bool
    log_tail: str | None
    recent: dict[str, Curve]
    samples: tuple[AnswerSeen, ...]
    merges: tuple[Made, ...]
    may_change: bool
    may_start: bool
    outcome: dict[str, Any]
    held_seconds: float
    trackers: tuple[Tracked, ...]
    seen_at: datetime


def show_run(deps: Deps, principal: Principal, job_id: str) -> RunDetail:
    """Raises NotFound, also for another team's."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        job = store.job(job_id)
        now = datetime.now(UTC)
        rows = store.runs_named([job_id])
        if not rows:  # deleted between the two looks
            raise NotFound(f"No job {job_id[:80]!r} was found in this team. Check the id, or list what there is.")
        run = seen_runs(store, rows, now)[0]
        row = run.row
        events = store.told(job_id, limit=EVENTS_SHOWN + 1)
        made = row.adapter_id if row.kind == JobKind.TRAIN else None
        merges = store.merges_of(made) if made else []
        return RunDetail(
            run=run,
            events=tuple(events[:EVENTS_SHOWN]),
            has_more_events=len(events) > EVENTS_SHOWN,
            log_tail=store.log_tail(job_id),
            recent=store.recent(job_id) if row.kind == JobKind.TRAIN else {},
            samples=_samples(store, job_id) if row.kind == JobKind.TRAIN else (),
            merges=tuple(Made(id=merge.id, name=merge.name, run=merge.job_id) for merge in merges),
            may_change=store.may_change(row),
            may_start=can(principal, Verb.CREATE, Object(kind=Kind.JOB, team=store.team, owner=store.user)),
            outcome=(job.result or {}) if row.kind == JobKind.TRAIN else {},
            held_seconds=store.held_seconds(job_id, now),
            trackers=tuple(store.tracked(job_id)) if row.kind == JobKind.TRAIN else (),
            seen_at=now,
        )


def _samples(store: TeamStore, job_id: str) -> tuple[AnswerSeen, ...]:
    newest = store.samples(job_id, limit=SAMPLES_SHOWN)
    if len(newest) < SAMPLES_SHOWN:
        return tuple(newest)
    known = {one.id for one in newest}
    first = store.samples(job_id, limit=MOST_QUESTIONS, oldest_first=True)
    return (*newest, *(one for one in reversed(first) if one.id not in known))


def run_curves(deps: Deps, principal: Principal, job_id: str) -> dict[str, list[Bucket]]:
    """SERIES by step, so far as the run has them; neighbouring steps together where there are many."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        store.job(job_id)
        return store.buckets(job_id, SERIES)
