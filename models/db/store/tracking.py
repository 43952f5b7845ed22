"""What the mirror of trackers asks and writes: which runs are due, their figures after a step, how far they were told.

No job is moved here and no fence is needed: one mirror at a time holds a lease, and a figure told twice is the
business of the tracker's own file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from models.db.tables import Job, JobEvent, Metric, TrackedRun, Tracker, db_now
from models.domain.job import JobKind, JobState
from models.domain.tracking import NAMES, STEPS_AT_ONCE, Point, figures

SERIES = tuple(NAMES)
LATELY_SECONDS = 7 * 24 * 3600.0  # a run that ended earlier than this is not begun any more
ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Untold:
    """Figures that a tracker does not have yet, in the order of steps. `is_all`: the run has ended with them."""

    points: list[Point]
    is_all: bool


class TrackingStore:
    """The part of SystemStore that knows trackers."""

    session: Session

    def untracked(self) -> list[tuple[str, str]]:
        """Tracker and job of each training that runs, or ended since its team's tracker is on, and has no row yet."""
        known = select(TrackedRun.job_id).where(TrackedRun.tracker_id == Tracker.id, TrackedRun.job_id == Job.id)
        lately = and_(Job.finished_at > Tracker.on_since, Job.finished_at > db_now(-LATELY_SECONDS))
        query = (
            select(Tracker.id, Job.id)
            .join(Job, Job.team_id == Tracker.team_id)
            .where(
                Tracker.is_on, Job.kind == JobKind.TRAIN, Job.started_at.is_not(None), Job.deleted_at.is_(None),
                or_(Job.finished_at.is_(None), lately), ~known.exists(),
            )
        )  # fmt: skip
        return [(tracker_id, job_id) for tracker_id, job_id in self.session.execute(query)]

    def begin_tracking(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give each of them a row; a tracker that was deleted meanwhile gets none."""
        known = set(self.session.scalars(select(Tracker.id).where(Tracker.id.in_({one for one, _ in pairs}))))
        for tracker_id, job_id in pairs:
            if tracker_id in known:
                self.session.add(TrackedRun(tracker_id=tracker_id, job_id=job_id))
        self.session.flush()

    def due_tracked(self, most: int) -> list[tuple[TrackedRun, Tracker]]:
        """Runs with a tracker to be told now, the longest waiting first."""
        query = (
            select(TrackedRun, Tracker)
            .join(Tracker, Tracker.id == TrackedRun.tracker_id)
            .join(Job, Job.id == TrackedRun.job_id)
            .where(
                Tracker.is_on, Job.deleted_at.is_(None), TrackedRun.is_done.is_(False), TrackedRun.next_at <= db_now()
            )
            .order_by(TrackedRun.next_at)
            .limit(most)
        )
        return [(run, tracker) for run, tracker in self.session.execute(query)]

    def due_checks(self, most: int) -> list[Tracker]:
        """Trackers whose connection somebody wants to know of."""
        unanswered = or_(Tracker.checked_at.is_(None), Tracker.checked_at < Tracker.asked_at)
        query = select(Tracker).where(Tracker.asked_at.is_not(None), unanswered).order_by(Tracker.asked_at)
        return list(self.session.scalars(query.limit(most)))

    def untold(self, job_id: str, after: int) -> Untold:
        """At most STEPS_AT_ONCE steps after that one.

        The newest step of a run that goes on waits: its evaluation may still come, and a step is told once.
        """
        has_ended = self.session.scalar(select(Job.state).where(Job.id == job_id)) in ENDED
        mine = (Metric.job_id == job_id, Metric.series.in_(SERIES))
        first = self.session.scalar(select(func.min(Metric.step)).where(*mine, Metric.step > after))
        if first is None:
            return Untold(points=[], is_all=has_ended)
        until = first + STEPS_AT_ONCE - 1
        rows = self.session.execute(
            select(Metric.step, Metric.series, Metric.value, Metric.at)
            .where(*mine, Metric.step >= first, Metric.step <= until)
            .order_by(Metric.step, Metric.series)
        ).all()
        points = _by_step(rows)
        if not has_ended:
            return Untold(points=points[:-1], is_all=False)
        rest = self.session.scalar(select(func.min(Metric.step)).where(*mine, Metric.step > until))
        return Untold(points=points, is_all=rest is None)

    def told_until(
        self, tracker_id: str, job_id: str, *, step: int, mark: str | None, url: str | None, is_done: bool,
        again_after: float,
    ) -> None:  # fmt: skip
        """The tracker has taken everything up to `step`. Says so in the run's events if a problem was said before."""
        row = self.session.get(TrackedRun, (tracker_id, job_id))
        if row is None:  # the tracker was deleted meanwhile
            return
        row.step, row.mark, row.url, row.is_done = step, mark, url or row.url, is_done
        row.failures, row.problem = 0, None
        self._again(tracker_id, job_id, again_after)
        if row.said == "warned":
            row.said = "recovered"
            self._tell(job_id, "info", f"{self._title(tracker_id)} takes figures again; it has all of this run so far.")

    def telling_failed(self, tracker_id: str, job_id: str, problem: str, *, again_after: float, gives_up: bool) -> None:
        """The tracker did not take them; said once in the run's events, with what to do."""
        row = self.session.get(TrackedRun, (tracker_id, job_id))
        if row is None:
            return
        row.failures, row.problem, row.is_done = row.failures + 1, problem, gives_up
        self._again(tracker_id, job_id, again_after)
        if row.said is None:
            row.said = "warned"
            self._tell(
                job_id,
                "warn",
                f"{self._title(tracker_id)} does not take this run's figures: {problem} The training goes on as if it "
                "were not there, and what is missing is sent once it can be. An owner sees to it on the Team page.",
            )

    def tracker_checked(self, tracker_id: str, problem: str | None) -> None:
        checked = update(Tracker).where(Tracker.id == tracker_id).values(checked_at=db_now(), problem=problem)
        self.session.execute(checked)

    def _again(self, tracker_id: str, job_id: str, seconds: float) -> None:
        self.session.flush()
        mine = (TrackedRun.tracker_id == tracker_id, TrackedRun.job_id == job_id)
        self.session.execute(update(TrackedRun).where(*mine).values(next_at=db_now(seconds)))

    def _title(self, tracker_id: str) -> str:
        from models.catalog.trackers import TRACKERS

        kind = self.session.scalar(select(Tracker.kind).where(Tracker.id == tracker_id)) or ""
        return TRACKERS[kind].title if kind in TRACKERS else kind

    def _tell(self, job_id: str, level: str, text: str) -> None:
        fence = select(Job.fence).where(Job.id == job_id).scalar_subquery()
        event = {"job_id": job_id, "fence": fence, "type": "message", "level": level, "message": text}
        self.session.execute(insert(JobEvent).values(**event))


def _by_step(rows: Sequence[Any]) -> list[Point]:
    values: dict[int, dict[str, float]] = {}
    times: dict[int, datetime] = {}
    for step, series, value, at in rows:
        values.setdefault(step, {})[series] = value
        times[step] = max(at, times.get(step, at))
    return [Point(step=step, at=times[step], figures=figures(found)) for step, found in values.items()]
