"""SystemStore: queries that belong to no person. Its methods are listed by name in a test, so none slips in."""

from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.db.store.doors import DoorsStore
from models.db.store.forgetting import ForgettingStore
from models.db.store.garbage import GarbageStore
from models.db.store.links import LinksStore
from models.db.store.people import PeopleStore
from models.db.store.queue import QueueStore
from models.db.store.tracking import TrackingStore
from models.db.store.versions import newest_number
from models.db.tables import Adapter, BaseModel, Checkpoint, Dataset, DatasetPart, DatasetReport, DatasetVersion, Job
from models.domain.access import System
from models.domain.errors import NotFound
from models.domain.ids import TeamId

T = TypeVar("T")
DEFAULT_TEAM = TeamId("team-default")


class SystemStore(QueueStore, PeopleStore, DoorsStore, LinksStore, GarbageStore, ForgettingStore, TrackingStore):
    """Claim and sweep, sign-in and keys, and the look-ups that staging a job needs."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def principal(self, team: TeamId = DEFAULT_TEAM) -> System:
        return System(team=team)

    def job(self, job_id: str) -> Job:
        return _found(self.session.get(Job, job_id), "job", job_id)

    def base(self, base_id: str) -> BaseModel:
        return _found(self.session.get(BaseModel, base_id), "base model", base_id)

    def adapter(self, adapter_id: str) -> Adapter:
        return _found(self.session.get(Adapter, adapter_id), "adapter", adapter_id)

    def file(self, file_id: str) -> DatasetVersion:
        return _found(self.session.get(DatasetVersion, file_id), "file", file_id)

    def parts(self, version_id: str) -> list[DatasetPart]:
        """The files of a version that was made of several, in order; empty for one file."""
        query = select(DatasetPart).where(DatasetPart.version_id == version_id).order_by(DatasetPart.position)
        return list(self.session.scalars(query))

    def newest_file(self, file_id: str) -> DatasetVersion:
        """The newest version of this version's dataset that is not broken; itself where there is none."""
        version = self.file(file_id)
        number = newest_number(self.session, version.dataset_id, passing_broken=True)
        query = select(DatasetVersion).where(
            DatasetVersion.dataset_id == version.dataset_id, DatasetVersion.number == number
        )
        return self.session.scalar(query) or version

    def gate_report(self, version_id: str) -> DatasetReport | None:
        """What stage 2 of the data gate found, if it has run."""
        query = select(DatasetReport).where(DatasetReport.version_id == version_id, DatasetReport.kind == "gate")
        return self.session.scalar(query)

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Newest first; those of the job it resumes, if it has none of its own."""
        own = list(
            self.session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()))
        )
        resumes = None if own else self.session.scalar(select(Job.resumes).where(Job.id == job_id))
        return self.checkpoints(resumes) if resumes else own

    def has_base_or_import(self, name: str) -> bool:
        """Is this base model here, or on its way? Start-up asks before it submits an import."""
        here = self.session.scalar(select(func.count()).where(BaseModel.name == name))
        coming = self.session.scalars(
            select(Job.spec).where(Job.kind == "add_base", Job.state.in_(["queued", "running"]))
        )
        return bool(here) or any(spec.get("name") == name for spec in coming)

    def had_base(self, name: str) -> bool:
        """An administrator has deleted a base model of this name: start-up does not bring it back."""
        query = select(func.count()).where(BaseModel.name.startswith(f"{name} (deleted ", autoescape=True))
        return bool(self.session.scalar(query))

    def has_sample(self, name: str) -> bool:
        query = select(func.count()).where(Dataset.name == name, Dataset.team_id.is_(None))
        return bool(self.session.scalar(query))


def _found(row: T | None, kind: str, row_id: str) -> T:
    if row is None:
        raise NotFound(f"There is no {kind} {row_id}.")
    return row
