"""TeamStore's trackers. Only owners see or change them; where a run is tracked, whoever may read the run may know."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from models.db.store.scope import Scoped, absent
from models.db.tables import Job, TrackedRun, Tracker, db_now
from models.domain.access import Kind, Verb
from models.domain.errors import Invalid
from models.domain.ids import new_id

MOST_TRACKERS = 8  # of one team: each of its runs is told to all of them


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """One run in one tracker. `url`: its page there, if it has one."""

    kind: str
    url: str | None
    is_done: bool
    problem: str | None


class TeamTrackers(Scoped):
    """Trackers of the principal's team."""

    def trackers(self) -> list[Tracker]:
        self.require(Verb.READ, Kind.SECRET, self.team, None, "the team's trackers")
        return list(self.session.scalars(select(Tracker).where(self.within(Tracker.team_id)).order_by(Tracker.id)))

    def tracker(self, tracker_id: str, verb: Verb = Verb.READ) -> Tracker:
        row = self.session.scalar(select(Tracker).where(Tracker.id == tracker_id, self.within(Tracker.team_id)))
        if row is None:
            raise absent("tracker", tracker_id)
        self.require(verb, Kind.SECRET, row.team_id, row.created_by, "this tracker", row.id)
        return row

    def add_tracker(self, kind: str, options: dict[str, Any], sealed: bytes | None) -> Tracker:
        """Switched on, and its connection to be tried. Raises Forbidden, Invalid."""
        self.require(Verb.CREATE, Kind.SECRET, self.team, self.user, "trackers")
        here = self.session.scalar(select(func.count()).select_from(Tracker).where(self.within(Tracker.team_id))) or 0
        if here >= MOST_TRACKERS:
            raise Invalid(f"The team has {here} trackers, and {MOST_TRACKERS} are the most. Delete one first.")
        row = Tracker(
            id=new_id("tracker"), team_id=self.team, kind=kind, options=options, sealed=sealed,
            created_by=self.user, changed_by=self.user,
        )  # fmt: skip
        self.session.add(row)
        self.session.flush()
        self.session.refresh(row)
        return row

    def change_tracker(self, tracker_id: str, *, is_on: bool | None = None, sealed: bytes | None = None) -> Tracker:
        """Switch it on or off, or replace its token; runs that wait are told soon. Raises NotFound, Forbidden."""
        row = self.tracker(tracker_id, Verb.CHANGE)
        if is_on and not row.is_on:
            row.on_since = db_now()  # type: ignore[assignment]
        if is_on is not None:
            row.is_on = is_on
        if sealed is not None:
            row.sealed = sealed
        row.changed_by, row.changed_at = self.user, db_now()  # type: ignore[assignment]
        self._try_soon(row)
        return row

    def ask_check(self, tracker_id: str) -> Tracker:
        """A worker tries the connection soon."""
        row = self.tracker(tracker_id, Verb.CHANGE)
        self._try_soon(row)
        return row

    def delete_tracker(self, tracker_id: str) -> None:
        """With its token and what is known of its runs; what the tracker itself holds stays there."""
        row = self.tracker(tracker_id, Verb.DELETE)
        self.session.execute(delete(TrackedRun).where(TrackedRun.tracker_id == row.id))
        self.session.delete(row)
        self.session.flush()

    def tracked(self, job_id: str) -> list[Tracked]:
        """Where this run is told."""
        query = (
            select(Tracker.kind, TrackedRun.url, TrackedRun.is_done, TrackedRun.problem)
            .join(Tracker, Tracker.id == TrackedRun.tracker_id)
            .join(Job, Job.id == TrackedRun.job_id)
            .where(TrackedRun.job_id == job_id, self.within(Job.team_id), self.within(Tracker.team_id))
            .order_by(Tracker.id)
        )
        return [
            Tracked(kind=kind, url=url, is_done=is_done, problem=problem)
            for kind, url, is_done, problem in self.session.execute(query)
        ]

    def _try_soon(self, row: Tracker) -> None:
        row.asked_at = db_now()  # type: ignore[assignment]
        self.session.flush()
        for run in self.session.scalars(select(TrackedRun).where(TrackedRun.tracker_id == row.id)):
            if not run.is_done:
                run.next_at = db_now()  # type: ignore[assignment]
        self.session.flush()
        self.session.refresh(row)
