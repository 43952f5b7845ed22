"""TeamStore's look-ups for starting a training: which files can be trained on, and how fast earlier runs were."""

from dataclasses import dataclass

from sqlalchemy import func, select

from models.db.store.scope import Scoped
from models.db.tables import Dataset, DatasetVersion, Job, Metric
from models.domain.job import JobKind, JobState

STEP_SECONDS = "step_seconds"


@dataclass(frozen=True, kw_only=True)
class TrainableFile:
    """One version of a dataset. `is_newest` among those not deleted."""

    version: DatasetVersion
    dataset_name: str
    is_newest: bool


@dataclass(frozen=True, kw_only=True)
class PastTraining:
    """A training that succeeded, with the seconds of its steps alone."""

    job: Job
    step_seconds: float


class TeamTrainings(Scoped):
    """Only reads."""

    def trainable_files(self, limit: int) -> list[TrainableFile]:
        """The team's own, newest first, then the samples."""
        query = (
            select(DatasetVersion, Dataset.name)
            .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
            .where(
                DatasetVersion.deleted_at.is_(None),
                Dataset.deleted_at.is_(None),
                DatasetVersion.purpose == "fine-tune",
                self.within(DatasetVersion.team_id, shared=True),
            )
            .order_by(DatasetVersion.team_id.is_(None), DatasetVersion.id.desc())
            .limit(limit)
        )
        found: list[TrainableFile] = []
        newest: dict[str, int] = {}
        for version, name in self.session.execute(query):
            is_newest = version.number >= newest.setdefault(version.dataset_id, version.number)
            found.append(TrainableFile(version=version, dataset_name=name, is_newest=is_newest))
        return found

    def past_trainings(self, base_id: str, limit: int) -> list[PastTraining]:
        """Successful ones on this base, newest first, whose steps were timed."""
        jobs = self.session.scalars(
            select(Job)
            .where(
                Job.kind == JobKind.TRAIN,
                Job.state == JobState.SUCCEEDED,
                self.within(Job.team_id),
                Job.spec["base"].as_string() == base_id,
            )
            .order_by(Job.id.desc())
            .limit(limit)
        ).all()
        sums = (
            select(Metric.job_id, func.sum(Metric.value))
            .where(Metric.series == STEP_SECONDS, Metric.job_id.in_([job.id for job in jobs]))
            .group_by(Metric.job_id)
        )
        timed: dict[str, float] = {job_id: seconds for job_id, seconds in self.session.execute(sums)}  # noqa: C416 - rows, not pairs
        return [PastTraining(job=job, step_seconds=timed[job.id]) for job in jobs if timed.get(job.id)]
