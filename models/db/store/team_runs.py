"""TeamStore's runs: jobs as a list shows them, each with what it works on, in a fixed number of queries a page.

Places in the queue count every team's waiting jobs; nothing else of another team is looked at.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select

from models.db.store.team_curves import TeamCurves
from models.db.tables import (
    Adapter,
    BaseModel,
    Dataset,
    DatasetVersion,
    Job,
    JobEvent,
    Membership,
    Merge,
    Sweep,
    SweepRun,
    User,
)
from models.domain.access import Kind, Object, Verb, can
from models.domain.ids import UserId
from models.domain.job import JobState
from models.domain.run import AnswerSeen, RunRow, Told


class TeamRuns(TeamCurves):
    """Jobs of the team and of the installation, as people look at them."""

    def runs(
        self, *, kinds: Sequence[str] = (), states: Sequence[str] = (), search: str = "", limit: int, offset: int = 0
    ) -> list[RunRow]:
        """Newest first."""
        query = self._runs(_COLUMNS).where(*_matching(kinds, search))
        if states:
            query = query.where(Job.state.in_(states))
        query = query.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit).offset(offset)
        return [_row(row) for row in self.session.execute(query)]

    def runs_named(self, job_ids: Sequence[str]) -> list[RunRow]:
        """Those of them that there are, in no order."""
        return [_row(row) for row in self.session.execute(self._runs(_COLUMNS).where(Job.id.in_(job_ids)))]

    def run_counts(self, *, kinds: Sequence[str] = (), search: str = "") -> dict[str, int]:
        """How many there are in each state."""
        query = self._runs((Job.state, func.count())).where(*_matching(kinds, search)).group_by(Job.state)
        return {row[0]: row[1] for row in self.session.execute(query)}

    def places_in_queue(self, job_ids: Sequence[str]) -> dict[str, int]:
        """1 is the next that a free worker takes. Jobs that are held or run have no place."""
        order = (Job.priority.desc(), Job.created_at, Job.id)
        place = func.row_number().over(partition_by=Job.lane, order_by=order).label("place")
        waiting = (Job.state == JobState.QUEUED, Job.held_reason.is_(None), Job.deleted_at.is_(None))
        queue = select(Job.id, Job.team_id, place).where(*waiting).subquery()
        mine = or_(queue.c.team_id == self.team, queue.c.team_id.is_(None))
        query = select(queue.c.id, queue.c.place).where(queue.c.id.in_(job_ids), mine)
        return {row[0]: row[1] for row in self.session.execute(query)}

    def log_tail(self, job_id: str) -> str | None:
        """The end of what its process printed; None while it has printed nothing."""
        mine = (Job.id == job_id, Job.deleted_at.is_(None), self.within(Job.team_id, shared=True))
        return self.session.scalar(select(Job.log_tail).where(*mine))

    def may_change(self, run: RunRow) -> bool:
        """Whether the principal may cancel it: decides which buttons are offered, never what is done."""
        thing = Object(
            kind=Kind.JOB,
            team=None if run.is_shared else self.team,
            owner=UserId(run.created_by) if run.created_by else None,
        )
        return can(self.principal, Verb.CHANGE, thing)

    def told(self, job_id: str, *, limit: int) -> list[Told]:
        """The job's events, newest first."""
        query = select(JobEvent.id, JobEvent.at, JobEvent.level, JobEvent.type, JobEvent.message, JobEvent.data)
        query = query.join(Job, Job.id == JobEvent.job_id).where(
            JobEvent.job_id == job_id, JobEvent.type != "sample", self.within(Job.team_id, shared=True)
        )
        rows = self.session.execute(query.order_by(JobEvent.id.desc()).limit(limit))
        return [
            Told(id=id_, at=at, level=level, kind=kind, message=message, data=data or {})
            for id_, at, level, kind, message, data in rows
        ]

    def samples(
        self, job_id: str, *, limit: int, after: int | None = None, oldest_first: bool = False
    ) -> list[AnswerSeen]:
        """What the model said to held-out questions, newest first; `after` is the id of one already known."""
        query = select(JobEvent.id, JobEvent.at, JobEvent.data).join(Job, Job.id == JobEvent.job_id)
        query = query.where(
            JobEvent.job_id == job_id, JobEvent.type == "sample", Job.deleted_at.is_(None),
            self.within(Job.team_id, shared=True),
        )  # fmt: skip
        if after is not None:
            query = query.where(JobEvent.id > after if oldest_first else JobEvent.id < after)
        query = query.order_by(JobEvent.id if oldest_first else JobEvent.id.desc()).limit(limit)
        return [AnswerSeen(id=id_, at=at, **(data or {})) for id_, at, data in self.session.execute(query)]

    def _runs(self, columns: Sequence[Any]) -> Select[*tuple[Any, ...]]:
        adapter = and_(
            or_(Adapter.job_id == Job.id, Adapter.id == Job.spec["adapter"].as_string()),
            Adapter.deleted_at.is_(None),
            self.within(Adapter.team_id),
        )
        person = and_(Membership.user_id == Job.created_by, Membership.team_id == self.team)
        return (
            select(*columns)
            .select_from(Job)
            .outerjoin(Membership, person)
            .outerjoin(User, User.id == Membership.user_id)
            .outerjoin(Adapter, adapter)
            .outerjoin(BaseModel, BaseModel.id == func.coalesce(Job.spec["base"].as_string(), Adapter.base_id))
            .outerjoin(
                DatasetVersion,
                and_(DatasetVersion.id == _file_of_job(), self.within(DatasetVersion.team_id, shared=True)),
            )
            .outerjoin(Dataset, Dataset.id == DatasetVersion.dataset_id)
            .outerjoin(Merge, and_(Merge.job_id == Job.id, Merge.deleted_at.is_(None), self.within(Merge.team_id)))
            .outerjoin(SweepRun, SweepRun.job_id == Job.id)
            .outerjoin(Sweep, and_(Sweep.id == SweepRun.sweep_id, self.within(Sweep.team_id)))
            .where(Job.deleted_at.is_(None), self.within(Job.team_id, shared=True))
        )


def _file_of_job() -> ColumnElement[Any]:
    """The rows a training learns from, or the file that a check reads."""
    return func.coalesce(Job.spec[("data", "training_file")].as_string(), Job.spec["file"].as_string())


def _matching(kinds: Sequence[str], search: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Job.kind.in_(kinds)] if kinds else []
    if search:
        texts = (
            Job.id, Job.spec["suffix"].as_string(), Job.spec["name"].as_string(), User.email, Adapter.name,
            BaseModel.name, Dataset.name, DatasetVersion.filename,
        )  # fmt: skip
        conditions.append(or_(*(func.lower(text).contains(search.lower(), autoescape=True) for text in texts)))
    return conditions


_JOB = (
    "id", "created_by", "kind", "lane", "state", "phase", "held_reason", "cancel_wish", "fence", "attempts", "spec",
    "error", "done", "total", "unit", "trained_tokens", "resumes", "created_at", "started_at", "finished_at",
    "cancel_requested_at",
)  # fmt: skip
_COLUMNS = (
    *(getattr(Job, name) for name in _JOB),
    Job.team_id.is_(None).label("is_shared"),
    User.email.label("owner"),
    BaseModel.id.label("base_id"),
    BaseModel.name.label("base_name"),
    Dataset.id.label("dataset_id"),
    Dataset.name.label("dataset_name"),
    Adapter.id.label("adapter_id"),
    Adapter.name.label("adapter_name"),
    Merge.id.label("merge_id"),
    Merge.name.label("merge_name"),
    Sweep.id.label("sweep_id"),
    Sweep.name.label("sweep_name"),
)


def _row(row: Row[Any]) -> RunRow:
    return RunRow(**row._mapping)
