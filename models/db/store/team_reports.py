"""TeamStore's data gate: parts, reports and data jobs of a version, and another reading of one not used yet."""

from collections.abc import Mapping
from hashlib import sha256

from sqlalchemy import select, update

from models.db.store.reports import tokens_key
from models.db.store.team_data import TeamData
from models.db.store.team_jobs import TeamJobs
from models.db.store.versions import newest_number
from models.db.tables import BaseModel, DatasetPart, DatasetReport, DatasetVersion, Job
from models.domain.access import Verb
from models.domain.job import JobKind, JobState
from models.domain.reading import Reading
from models.domain.training import TrainOn

NEWEST_JOBS = 200  # of one version and kind, when the newest one of each wish is looked for


class TeamReports(TeamData, TeamJobs):
    """Reads what the team may read of a version; writes nothing but a reading and a queued job."""

    def parts(self, file_id: str) -> list[DatasetPart]:
        """The files of a version that was made of several, in order; empty for one file."""
        self.file(file_id)
        query = select(DatasetPart).where(DatasetPart.version_id == file_id).order_by(DatasetPart.position)
        return list(self.session.scalars(query))

    def reports(self, file_id: str) -> list[DatasetReport]:
        """What the later stages found in this version, oldest first."""
        self.file(file_id)
        query = select(DatasetReport).where(DatasetReport.version_id == file_id).order_by(DatasetReport.id)
        return list(self.session.scalars(query))

    def tokens_report(
        self, file_id: str, base: BaseModel, train_on: TrainOn, template_arguments: Mapping[str, str | bool | int]
    ) -> DatasetReport | None:
        """The counts for this base and way of writing, if they were made."""
        self.file(file_id)
        key = tokens_key(base.tree_sha256, train_on, template_arguments)
        query = select(DatasetReport).where(
            DatasetReport.version_id == file_id, DatasetReport.kind == "tokens", DatasetReport.key == key
        )
        return self.session.scalar(query)

    def data_jobs(self, file_id: str, kind: JobKind) -> list[Job]:
        """The newest jobs of this kind over this version, newest first; deleted ones are left out."""
        self.file(file_id)
        query = select(Job).where(
            Job.kind == kind,
            Job.spec["file"].as_string() == file_id,
            Job.deleted_at.is_(None),
            self.within(Job.team_id, shared=True),
        )
        return list(self.session.scalars(query.order_by(Job.id.desc()).limit(NEWEST_JOBS)))

    def newest_version(self, dataset_id: str, *, passing_broken: bool = False) -> DatasetVersion | None:
        """The last one that was not deleted; `passing_broken`: of those that may be usable."""
        self.dataset(dataset_id)
        number = newest_number(self.session, dataset_id, passing_broken=passing_broken)
        query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.number == number)
        return self.session.scalar(query)

    def read_again(self, file_id: str, reading: Reading) -> DatasetVersion:
        """Another reading of a version that was never usable; its check begins anew, and an earlier one is void."""
        version = self.file(file_id, Verb.CHANGE)
        self.session.execute(
            update(DatasetVersion)
            .where(DatasetVersion.id == version.id)
            .values(
                reading=reading.model_dump(mode="json"), status="uploaded", status_details=None, format=None,
                rows=None, usable_rows=None, report=None, rows_sha256=None, rows_size=None,
            )
        )  # fmt: skip
        self.session.refresh(version)
        return version


def is_unfinished(job: Job) -> bool:
    return not JobState(job.state).is_terminal


def lock_name(*what: str) -> str:
    """The name of a lease under which one of several equal wishes at once is written first: one of 256, for ever."""
    return "wish:" + sha256("\0".join(what).encode()).hexdigest()[:2]
