"""TeamStore's figures of runs: curves thinned in the query, paces, and for how long a run held a worker.

However many steps a run has, no answer here grows with them: a page asks for curves every second.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func, or_, select

from models.db.store.scope import Scoped
from models.db.tables import Job, JobEvent, Metric
from models.domain.job import JobState
from models.domain.run import Bucket, Curve
from models.domain.series import points

SPARK_POINTS = 60
PACE_STEPS = 20
MOST_POINTS = 1000  # of one series
MOST_HELD_OUT = 400  # measurements that are told one by one
RECENT = ("train_loss", "trained_tokens", "tokens", "step_seconds", "peak_memory_bytes")


class TeamCurves(Scoped):
    """Metrics of the team's and the installation's jobs."""

    def buckets(self, job_id: str, series: Sequence[str], *, most_points: int = MOST_POINTS) -> dict[str, list[Bucket]]:
        """These series by step; each step alone up to `most_points` of them, else at most half as many buckets.

        All series of one answer have the same buckets, so that their sums can be compared.
        """
        mine = self._mine(job_id, series)
        last = self.session.scalar(select(func.max(Metric.step)).join(Job, Job.id == Metric.job_id).where(*mine))
        if last is None:
            return {}
        every = 1 if last < most_points else -(-(last + 1) // max(1, most_points // 2))
        bucket = Metric.step // every
        edges = (func.min(Metric.step), func.max(Metric.step), func.min(Metric.value), func.max(Metric.value))
        query = select(Metric.series, *edges, func.sum(Metric.value), func.count()).join(Job, Job.id == Metric.job_id)
        found: dict[str, list[Bucket]] = {}
        for name, first, end, low, high, total, count in self.session.execute(
            query.where(*mine).group_by(Metric.series, bucket).order_by(Metric.series, bucket)
        ):
            one = Bucket(first=first, last=end, low=low, high=high, total=total, count=count)
            found.setdefault(name, []).append(one)
        return found

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
        """The last PACE_STEPS steps of the series of RECENT, and the measurements on held-out rows."""
        done = self.session.scalar(select(Job.done).where(Job.id == job_id, self.within(Job.team_id, shared=True)))
        # The bound is a value and the series are named, so that the index is read at its end and not as a whole.
        wanted = (*self._mine(job_id, RECENT), Metric.step > (done or 0) - PACE_STEPS)
        query = select(Metric.series, Metric.step, Metric.value).join(Job, Job.id == Metric.job_id).where(*wanted)
        found = _by_series(self.session.execute(query.order_by(Metric.series, Metric.step)).all())
        held_out = self.buckets(job_id, ("eval_loss",), most_points=MOST_HELD_OUT)
        return found | {name: points(line) for name, line in held_out.items()}

    def held_seconds(self, job_id: str, now: datetime) -> float:
        """For how long workers worked at it, all attempts together; not while it waited between them."""
        query = select(JobEvent.at, JobEvent.data).join(Job, Job.id == JobEvent.job_id)
        query = query.where(
            JobEvent.job_id == job_id, JobEvent.type == "moved", self.within(Job.team_id, shared=True)
        )  # fmt: skip
        seconds, since = 0.0, None
        for at, data in self.session.execute(query.order_by(JobEvent.id)):
            seconds += (at - since).total_seconds() if since is not None else 0.0
            since = at if (data or {}).get("after") == JobState.RUNNING else None
        return max(0.0, seconds + ((now - since).total_seconds() if since is not None else 0.0))

    def _mine(self, job_id: str, series: Sequence[str]) -> tuple[Any, ...]:
        return Metric.job_id == job_id, Metric.series.in_(series), self.within(Job.team_id, shared=True)

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
