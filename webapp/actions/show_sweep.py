"""A sweep as its team sees it: each run's values, how it goes, and what of their differences is chance."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from models.db.store.team import TeamStore
from models.domain.access import Kind, Object, Principal, Verb, can
from models.domain.ids import UserId
from models.domain.job import JobState
from models.domain.run import Bucket, RunCompared, RunSeen
from models.domain.series import points, ratio, smoothed
from models.domain.sweeps import without_seeds
from models.domain.swept import SweepSeen, SweptRun, standings
from webapp.actions.show_runs import seen_runs
from webapp.deps import Deps

POINTS_EACH = 300
SERIES = ("train_loss", "eval_loss", "trained_tokens", "tokens", "step_seconds")


def show_sweep(deps: Deps, principal: Principal, sweep_id: str) -> SweepSeen:
    """Raises NotFound, also for another team's."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        row, members = store.sweep(sweep_id), store.sweep_runs(sweep_id)
        rows = store.runs_named([member.job_id for member in members])
        seen = {run.row.id: run for run in seen_runs(store, rows, datetime.now(UTC))}
        found = [
            (
                member.number,
                member.values,
                seen[member.job_id],
                store.buckets(member.job_id, SERIES, most_points=POINTS_EACH),
            )
            for member in members
            if member.job_id in seen
        ]
        thing = Object(kind=Kind.JOB, team=store.team, owner=UserId(row.created_by) if row.created_by else None)
        made = [_swept(*one) for one in found]
        by_held_out = any(run.held_out is not None for run in made)
        # A run that did not come to its end has done fewer steps, and is compared with nothing.
        losses = [(run.held_out if by_held_out else run.train_loss) if _is_whole(run) else None for run in made]
        spread, standing = standings(list(zip([without_seeds(run.values) for run in made], losses, strict=True)))
        return SweepSeen(
            id=row.id,
            name=row.name,
            created_by=row.created_by,
            created_at=row.created_at,
            knobs=row.knobs,
            runs=tuple(replace(run, standing=stands) for run, stands in zip(made, standing, strict=True)),
            spread=spread,
            by_held_out=by_held_out,
            may_change=can(principal, Verb.CHANGE, thing),
        )


def _is_whole(run: SweptRun) -> bool:
    return run.seen.run.row.state == JobState.SUCCEEDED


def _swept(number: int, values: dict[str, Any], run: RunSeen, series: dict[str, list[Bucket]]) -> SweptRun:
    train, held_out = series.get("train_loss", []), points(series.get("eval_loss", []))
    counted = series.get("tokens") or series.get("trained_tokens", [])
    seconds = series.get("step_seconds", [])
    took = sum(one.total for one in seconds)
    line = smoothed(train)
    return SweptRun(
        number=number,
        values=values,
        seen=RunCompared(run=run, train=train, held_out=held_out),
        train_loss=line[-1][1] if line else None,
        held_out=held_out[-1][1] if held_out and held_out[-1][0] > 0 else None,
        tokens_per_second=sum(one.total for one in counted) / took if took and ratio(counted, seconds) else None,
        standing=None,
    )
