"""TeamStore's sweeps: trainings that were started together. Who may do what is as for jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from models.db.store.scope import absent
from models.db.store.team_jobs import REPEATED_CREATE_WITHIN, TeamJobs
from models.db.tables import Job, Sweep, SweepRun, db_now
from models.domain.access import Kind, Verb
from models.domain.ids import new_id
from models.domain.job import JobKind, JobState


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """One run of a sweep: its settings as stored, the values it stands for, and a remark for its events."""

    spec: dict[str, Any]
    values: dict[str, Any]
    remark: str | None = None


class TeamSweeps(TeamJobs):
    """A sweep whose runs were all deleted is still there, and empty."""

    def add_sweep(
        self, name: str, knobs: Sequence[dict[str, Any]], runs: Sequence[NewRun], *, request_hash: str | None = None
    ) -> Sweep:
        """The sweep with one queued training for each run. The caller rings the lane after the commit."""
        self.require(Verb.CREATE, Kind.JOB, self.team, self.user, "jobs")
        row = Sweep(
            id=new_id("sweep"), team_id=self.team, created_by=self.user, name=name, knobs=list(knobs),
            request_hash=request_hash,
        )  # fmt: skip
        self.session.add(row)
        self.session.flush()
        for number, run in enumerate(runs, 1):
            job = self.submit(JobKind.TRAIN, run.spec, remark=run.remark)
            self.session.add(SweepRun(job_id=job.id, sweep_id=row.id, number=number, values=run.values))
        self.session.flush()
        self.session.refresh(row)
        return row

    def sweep(self, sweep_id: str, verb: Verb = Verb.READ) -> Sweep:
        row = self.session.scalar(select(Sweep).where(Sweep.id == sweep_id, self.within(Sweep.team_id)))
        if row is None:
            raise absent("sweep", sweep_id)
        self.require(verb, Kind.JOB, row.team_id, row.created_by, "this sweep")
        return row

    def sweep_runs(self, sweep_id: str) -> list[SweepRun]:
        """By number, without those whose job was deleted."""
        self.sweep(sweep_id)
        query = select(SweepRun).join(Job, Job.id == SweepRun.job_id)
        query = query.where(SweepRun.sweep_id == sweep_id, Job.deleted_at.is_(None))
        return list(self.session.scalars(query.order_by(SweepRun.number)))

    def repeated_sweep(self, request_hash: str) -> Sweep | None:
        """The sweep that the same request of the same person made within 30 s: clients retry a create blindly."""
        query = select(Sweep).where(
            Sweep.request_hash == request_hash, Sweep.team_id == self.team, Sweep.created_by == self.user,
            Sweep.created_at > db_now(-REPEATED_CREATE_WITHIN.total_seconds()),
        )  # fmt: skip
        return self.session.scalar(query.order_by(Sweep.id.desc()).limit(1))

    def cancel_waiting(self, sweep_id: str) -> int:
        """Ends the runs that have not started, and says how many those were; running ones go on."""
        self.sweep(sweep_id, Verb.CHANGE)
        waiting = (
            select(Job.id)
            .join(SweepRun, SweepRun.job_id == Job.id)
            .where(SweepRun.sweep_id == sweep_id, Job.state == JobState.QUEUED, Job.deleted_at.is_(None))
            .order_by(Job.id)
            .with_for_update(of=Job)  # a worker's claim passes by locked rows, so that none starts in between
        )
        ids = list(self.session.scalars(waiting))
        for job_id in ids:
            self.request_cancel(job_id)
        return len(ids)
