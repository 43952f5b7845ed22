"""TeamStore's jobs: submit, look at, cancel."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, cast, func, insert, select, update
from sqlalchemy import String as SqlString

from models.db.store.scope import Page, absent
from models.db.store.team_runs import TeamRuns
from models.db.tables import Checkpoint, Job, JobEvent, Metric, db_now
from models.domain.access import Kind, Verb
from models.domain.errors import Conflict
from models.domain.ids import new_id
from models.domain.job import LANE_OF, PRIORITY_OF, CancelWish, JobKind, JobState

REPEATED_CREATE_WITHIN = timedelta(seconds=30)


class TeamJobs(TeamRuns):
    """Jobs of the team; instance-wide jobs (base imports) are readable by all."""

    def submit(
        self,
        kind: JobKind,
        spec: dict[str, Any],
        *,
        meta: dict[str, Any] | None = None,
        shared: bool = False,
        resumes: str | None = None,
        request_hash: str | None = None,
        priority: int | None = None,
        remark: str | None = None,
    ) -> Job:
        """Insert a queued job with its first event, and a remark. The caller rings the lane after the commit.

        Without `priority` it is its kind's.
        """
        team = None if shared else self.team
        self.require(Verb.CREATE, Kind.JOB, team, self.user, "jobs")
        job = Job(
            id=new_id("ftjob" if kind is JobKind.TRAIN else "job"), team_id=team, created_by=self.user, kind=kind,
            lane=LANE_OF[kind], spec=spec, meta=meta or {}, resumes=resumes, request_hash=request_hash,
            priority=PRIORITY_OF.get(kind, 0) if priority is None else priority, state=JobState.QUEUED,
        )  # fmt: skip
        self.session.add(job)
        self.session.flush()
        self._note(job, "moved", "created -> queued", {"after": JobState.QUEUED})
        if remark is not None:
            self._note(job, "message", remark, {})
        self.session.refresh(job)
        return job

    def repeated(self, request_hash: str) -> Job | None:
        """The job that the same request of the same person made within 30 s: clients retry a create blindly."""
        return self.session.scalar(
            select(Job)
            .where(
                Job.request_hash == request_hash,
                Job.team_id == self.team,
                Job.created_by == self.user,
                Job.deleted_at.is_(None),
                Job.created_at > db_now(-REPEATED_CREATE_WITHIN.total_seconds()),
            )
            .order_by(Job.id.desc())
            .limit(1)
        )

    def job(self, job_id: str, verb: Verb = Verb.READ, kinds: tuple[JobKind, ...] = ()) -> Job:
        query = select(Job).where(Job.id == job_id, Job.deleted_at.is_(None), self.within(Job.team_id, shared=True))
        if kinds:
            query = query.where(Job.kind.in_(kinds))
        row = self.session.scalar(query)
        if row is None:
            raise absent("job", job_id)
        self.require(verb, Kind.JOB, row.team_id, row.created_by, "this job")
        return row

    def jobs(
        self,
        *,
        limit: int,
        after: str | None = None,
        kinds: tuple[JobKind, ...] = (),
        states: tuple[JobState, ...] = (),
        meta: dict[str, str] | None = None,
        without_meta: bool = False,
    ) -> Page[Job]:
        """Newest first; `meta` keeps jobs that carry all of these pairs."""
        query = select(Job).where(Job.deleted_at.is_(None), self.within(Job.team_id, shared=True))
        if kinds:
            query = query.where(Job.kind.in_(kinds))
        if states:
            query = query.where(Job.state.in_(states))
        if after is not None:
            query = query.where(Job.id < after)
        for key, value in (meta or {}).items():
            query = query.where(Job.meta[key].as_string() == value)
        if without_meta:
            query = query.where(_is_empty())
        return self.page(query.order_by(Job.id.desc()), limit)

    def job_counts(self) -> tuple[int, int]:
        """How many of the team's and the installation's jobs wait and run."""
        query = (
            select(Job.state, func.count())
            .where(self.within(Job.team_id, shared=True), Job.state.in_([JobState.QUEUED, JobState.RUNNING]))
            .group_by(Job.state)
        )
        counts = {state: count for state, count in self.session.execute(query)}  # noqa: C416 - rows, not pairs
        return counts.get(JobState.QUEUED, 0), counts.get(JobState.RUNNING, 0)

    def request_cancel(self, job_id: str, wish: CancelWish = CancelWish.DISCARD) -> Job:
        """A queued job is cancelled at once, a running one is marked and its owner settles it."""
        job = self.job(job_id, Verb.CHANGE)
        done = self.session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED)
            .values(state=JobState.CANCELLED, finished_at=db_now(), cancel_requested_at=db_now(), cancel_wish=wish)
            .execution_options(synchronize_session=False)
        )
        if done.rowcount == 1:  # type: ignore[attr-defined]
            self._note(job, "moved", "queued -> cancelled", {"before": "queued", "after": "cancelled"})
        else:
            marked = self.session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == JobState.RUNNING)
                .values(cancel_requested_at=func.coalesce(Job.cancel_requested_at, db_now()), cancel_wish=wish)
                .execution_options(synchronize_session=False)
            )
            if marked.rowcount != 1:  # type: ignore[attr-defined]
                state = self.session.scalar(select(Job.state).where(Job.id == job_id))
                raise Conflict(f"The job has already {state}; only a queued or running job can be cancelled.")
            self._note(job, "message", f"cancel asked, the adapter so far: {wish}", {"wish": wish})
        self.session.refresh(job)
        return job

    def events(self, job_id: str, *, limit: int, after: int | None = None) -> Page[JobEvent]:
        """Newest first; samples are no events to people, see `samples`."""
        self.job(job_id)
        query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type != "sample")
        if after is not None:
            query = query.where(JobEvent.id < after)
        return self.page(query.order_by(JobEvent.id.desc()), limit)

    def metrics(self, job_id: str, series: str) -> list[Metric]:
        """All points of one series by step."""
        self.job(job_id)
        query = select(Metric).where(Metric.job_id == job_id, Metric.series == series).order_by(Metric.step)
        return list(self.session.scalars(query))

    def checkpoints(self, job_id: str, *, limit: int, before_step: int | None = None) -> Page[Checkpoint]:
        self.job(job_id)
        query = select(Checkpoint).where(Checkpoint.job_id == job_id)
        if before_step is not None:
            query = query.where(Checkpoint.step < before_step)
        return self.page(query.order_by(Checkpoint.step.desc()), limit)

    def _note(self, job: Job, type_: str, message: str, data: dict[str, Any]) -> None:
        self.session.execute(
            insert(JobEvent).values(job_id=job.id, fence=job.fence, type=type_, message=message, data=data)
        )


def _is_empty() -> ColumnElement[bool]:
    return cast(Job.meta, SqlString).in_(["{}", "null"])
