"""TeamStore's runs: jobs as a list shows them, each with what it works on, in a fixed number of queries a page.

Places in the queue count every team's waiting jobs; nothing else of another team is looked at.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select

from models.db.store.scope import Scoped
from models.db.tables import Adapter, BaseModel, Dataset, DatasetVersion, Job, JobEvent, Membership, Merge, Metric, User
from models.domain.access import Kind, Object, Verb, can
from models.domain.ids import UserId
from models.domain.job import JobState
from models.domain.run import AnswerSeen, Curve, RunRow, Told

SPARK_POINTS = 60
PACE_STEPS = 20


class TeamRuns(Scoped):
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

    def sparks(self, job_ids: Sequence[str]) -> dict[str, Curve]:
        """(step, training loss) of each job by step: about SPARK_POINTS of them, evenly chosen, and the last."""
        every = case((Job.done > SPARK_POINTS, (Job.done + SPARK_POINTS - 1) // SPARK_POINTS), else_=1)
        chosen = or_(Metric.step % every == 0, Metric.step == 1, Metric.step == Job.done)
        query = self._points("train_loss", job_ids).where(chosen)
        found: dict[str, Curve] = {}
        for row in self.session.execute(query):
            found.setdefault(row.job_id, []).append((row.step, row.value))
        return found

    def paces(self, job_ids: Sequence[str]) -> dict[str, list[tuple[int, datetime]]]:
        """(step, when it was done) of the last PACE_STEPS steps of each job's present attempt."""
        recent = (Metric.step > Job.done - PACE_STEPS, Metric.fence == Job.fence)
        query = self._points("train_loss", job_ids).where(*recent)
        found: dict[str, list[tuple[int, datetime]]] = {}
        for row in self.session.execute(query):
            found.setdefault(row.job_id, []).append((row.step, row.at))
        return found

    def recent(self, job_id: str) -> dict[str, Curve]:
        """The last PACE_STEPS steps of each series, and every measurement on held-out rows."""
        wanted = or_(Metric.step > Job.done - PACE_STEPS, Metric.series == "eval_loss")
        query = self._curves(job_id, (Metric.series, Metric.step, Metric.value)).where(wanted)
        return _by_series(self.session.execute(query.order_by(Metric.series, Metric.step)).all())

    def curves(self, job_id: str, series: Sequence[str], *, every: int = 1) -> dict[str, Curve]:
        """The points of these series by step. With `every` over 1 the lowest and the highest of each so many steps.

        Then a value stands up to `every` steps beside its own: less than a picture shows.
        """
        if every == 1:
            query = self._curves(job_id, (Metric.series, Metric.step, Metric.value)).where(Metric.series.in_(series))
            return _by_series(self.session.execute(query.order_by(Metric.series, Metric.step)).all())
        bucket = Metric.step // every
        edges = (func.min(Metric.step), func.max(Metric.step), func.min(Metric.value), func.max(Metric.value))
        query = self._curves(job_id, (Metric.series, *edges)).where(Metric.series.in_(series))
        points: list[tuple[str, int, float]] = []
        for name, first, last, low, high in self.session.execute(
            query.group_by(Metric.series, bucket).order_by(Metric.series, bucket)
        ):
            points += [(name, first, high), (name, last, low)] if first < last else [(name, first, high)]
        return _by_series(points)

    def sums(self, job_id: str, series: Sequence[str], *, every: int = 1) -> dict[str, Curve]:
        """(the last of each `every` steps, the sum of their values)."""
        bucket = Metric.step // every
        columns = (Metric.series, func.max(Metric.step), func.sum(Metric.value))
        query = self._curves(job_id, columns).where(Metric.series.in_(series))
        rows = self.session.execute(query.group_by(Metric.series, bucket).order_by(Metric.series, bucket))
        return _by_series(rows.all())

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
            .where(Job.deleted_at.is_(None), self.within(Job.team_id, shared=True))
        )

    def _curves(self, job_id: str, columns: Sequence[Any]) -> Select[*tuple[Any, ...]]:
        mine = (Metric.job_id == job_id, self.within(Job.team_id, shared=True))
        return select(*columns).join(Job, Job.id == Metric.job_id).where(*mine)

    def _points(self, series: str, job_ids: Sequence[str]) -> Select[*tuple[Any, ...]]:
        return (
            select(Metric.job_id, Metric.step, Metric.value, Metric.at)
            .join(Job, Job.id == Metric.job_id)
            .where(Metric.job_id.in_(job_ids), Metric.series == series, self.within(Job.team_id, shared=True))
            .order_by(Metric.job_id, Metric.step)
        )


def _by_series(rows: Iterable[Any]) -> dict[str, Curve]:
    found: dict[str, Curve] = {}
    for name, step, value in rows:
        found.setdefault(name, []).append((step, value))
    return found


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
)


def _row(row: Row[Any]) -> RunRow:
    return RunRow(**row._mapping)
