"""Runs as a list: jobs of every kind with what they work on, how far they are, and their losses in small.

A fixed number of queries a page, however many jobs there are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.job import JobKind, JobState
from models.domain.progress import seconds_left
from models.domain.run import RunCompared, RunRow, RunSeen
from models.domain.series import points
from webapp.deps import Deps

PAGE_ROWS = 20
MOST_COMPARED = 8
POINTS_EACH = 500  # of one line in a chart of several
LONGEST_SEARCH = 100
PAGE_NUMBER = re.compile("[1-9][0-9]{0,5}")


@dataclass(frozen=True, kw_only=True)
class RunsAsked:
    """What the address of the list says. Unknown kinds and states mean all; `page` counts from 1."""

    kind: JobKind | None = None
    state: JobState | None = None
    search: str = ""
    page: int = 1

    @classmethod
    def of(cls, *, kind: str = "", state: str = "", search: str = "", page: str = "") -> "RunsAsked":
        return cls(
            kind=JobKind(kind) if kind in list(JobKind) else None,
            state=JobState(state) if state in list(JobState) else None,
            search=search.replace("\0", "")[:LONGEST_SEARCH].strip(),
            page=int(page) if PAGE_NUMBER.fullmatch(page) else 1,
        )


@dataclass(frozen=True, kw_only=True)
class RunsSeen:
    """`counts` by state ignore the state that was asked for; `is_filtered`: there may be others."""

    asked: RunsAsked
    runs: tuple[RunSeen, ...]
    counts: dict[str, int]
    pages: int
    is_filtered: bool
    seen_at: datetime

    @property
    def is_moving(self) -> bool:
        return bool(self.counts.get(JobState.QUEUED) or self.counts.get(JobState.RUNNING))


def list_runs(deps: Deps, principal: Principal, asked: RunsAsked) -> RunsSeen:
    """Newest first. A page behind the last shows the last."""
    kinds = (asked.kind,) if asked.kind else ()
    states = (asked.state,) if asked.state else ()
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        counts = store.run_counts(kinds=kinds, search=asked.search)
        total = counts.get(asked.state, 0) if asked.state else sum(counts.values())
        pages = max(1, -(-total // PAGE_ROWS))
        page = min(asked.page, pages)
        rows = store.runs(
            kinds=kinds, states=states, search=asked.search, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS
        )
        now = datetime.now(UTC)
        return RunsSeen(
            asked=RunsAsked(kind=asked.kind, state=asked.state, search=asked.search, page=page),
            runs=tuple(seen_runs(store, rows, now)),
            counts=counts,
            pages=pages,
            is_filtered=bool(asked.kind or asked.state or asked.search),
            seen_at=now,
        )


def compare_runs(deps: Deps, principal: Principal, job_ids: Sequence[str]) -> list[RunCompared]:
    """Those of the asked that there are, in the order asked, at most MOST_COMPARED."""
    wanted = list(dict.fromkeys(job_ids))[:MOST_COMPARED]
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        found = {run.row.id: run for run in seen_runs(store, store.runs_named(wanted), datetime.now(UTC))}
        compared = []
        for job_id in wanted:
            if job_id in found:
                compared.append(compared_run(store, found[job_id], most_points=POINTS_EACH))
        return compared


def compared_run(store: TeamStore, run: RunSeen, *, most_points: int) -> RunCompared:
    """With its curves, thinned for a chart of many lines."""
    buckets = store.buckets(run.row.id, ("train_loss", "eval_loss"), most_points=most_points)
    return RunCompared(run=run, train=buckets.get("train_loss", []), held_out=points(buckets.get("eval_loss", [])))


def seen_runs(store: TeamStore, rows: Sequence[RunRow], now: datetime) -> list[RunSeen]:
    """With their losses, places and paces: at most three queries for all."""
    trained = [row.id for row in rows if row.kind == JobKind.TRAIN]
    running = [row.id for row in rows if row.state == JobState.RUNNING]
    waiting = [row.id for row in rows if row.state == JobState.QUEUED]
    sparks = store.sparks(trained) if trained else {}
    paces = store.paces(running) if running else {}
    places = store.places_in_queue(waiting) if waiting else {}
    return [
        RunSeen(
            row=row,
            spark=sparks.get(row.id, []),
            seconds_left=_seconds_left(row, paces.get(row.id, []), now),
            seconds=((row.finished_at or now) - row.started_at).total_seconds() if row.started_at else None,
            place=places.get(row.id),
        )
        for row in rows
    ]


def _seconds_left(row: RunRow, recent: Sequence[tuple[int, datetime]], now: datetime) -> float | None:
    if row.state != JobState.RUNNING or row.done is None or not row.total:
        return None
    return seconds_left(row.done, row.total, recent, now)
