"""TeamStore's deletions: all soft (`deleted_at`), each after a look at who still needs the row.

What work that has not ended needs is refused by name; what only history needs is deleted and counted. Bytes are
the business of `models.db.store.garbage`, which also keeps what a job submitted at the same moment refers to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, cast, delete, func, or_, select, update
from sqlalchemy import String as SqlString

from models.db.store.scope import absent
from models.db.store.team_data import TeamData
from models.db.store.team_jobs import TeamJobs
from models.db.store.team_models import TeamModels
from models.db.tables import Adapter, Dataset, DatasetVersion, Job, JobEvent, Link, Merge, db_now
from models.domain.access import Kind, Verb
from models.domain.errors import Conflict
from models.domain.job import TERMINAL, JobKind, JobState

NAMED = 3  # of the things in the way; the rest is counted
LONGEST_BASE_NAME = 96


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What stays, or ended, beside the row that was deleted."""

    runs: int = 0
    adapters: int = 0
    merges: int = 0
    links: int = 0


class TeamDeleting(TeamData, TeamJobs, TeamModels):
    """Raises NotFound, Forbidden, or Conflict naming what is in the way; then nothing was changed."""

    def delete_file(self, file_id: str) -> Removed:
        """One version; with the last one its dataset goes too."""
        version = self.file(file_id, Verb.DELETE)
        removed = self._refuse_used([version.id], "file")
        version.deleted_at = db_now()  # type: ignore[assignment]
        self.session.flush()
        if not self._live_versions(version.dataset_id):
            self._mark(Dataset, version.dataset_id)
        return removed

    def delete_dataset(self, dataset_id: str) -> Removed:
        """With all its versions."""
        dataset = self.session.scalar(
            select(Dataset).where(
                Dataset.id == dataset_id, Dataset.deleted_at.is_(None), self.within(Dataset.team_id, shared=True)
            )
        )
        if dataset is None:
            raise absent("dataset", dataset_id)
        self.require(Verb.DELETE, Kind.DATASET, dataset.team_id, dataset.created_by, "this dataset")
        removed = self._refuse_used(self._live_versions(dataset.id), "dataset")
        self._mark(Dataset, dataset.id)
        self.session.execute(
            update(DatasetVersion)
            .where(DatasetVersion.dataset_id == dataset.id, DatasetVersion.deleted_at.is_(None))
            .values(deleted_at=db_now())
        )
        return removed

    def delete_job(self, job_id: str) -> Removed:
        """An ended job leaves the history; what it made stays. Its samples quote rows of the data and go at once."""
        job = self.job(job_id, Verb.DELETE)
        gone = self.session.execute(
            update(Job)
            .where(Job.id == job.id, Job.state.in_(TERMINAL))
            .values(deleted_at=db_now())
            .execution_options(synchronize_session=False)
        )
        if gone.rowcount != 1:  # type: ignore[attr-defined]
            raise Conflict(f"The job {job.id} is {job.state}; only one that has ended can be deleted. Cancel it first.")
        self.session.execute(delete(JobEvent).where(JobEvent.job_id == job.id, JobEvent.type == "sample"))
        return Removed(
            adapters=self._count(Adapter.job_id == job.id, Adapter.deleted_at.is_(None)),
            merges=self._count(Merge.job_id == job.id, Merge.deleted_at.is_(None)),
        )

    def delete_adapter(self, name_or_id: str) -> Removed:
        """Its links end with it; merges made from it stay."""
        adapter = self.adapter(name_or_id, Verb.DELETE)
        merging = self._working(JobKind.MERGE, Job.spec["adapter"].as_string() == adapter.id)
        if merging:
            raise Conflict(f"This adapter is being merged by {self._named(merging)}. Cancel that or wait for its end.")
        self._mark(Adapter, adapter.id)
        ended = self.session.execute(
            update(Link)
            .where(Link.adapter_id == adapter.id, Link.revoked_at.is_(None))
            .values(revoked_at=db_now())
            .returning(Link.expires_at > db_now())
            .execution_options(synchronize_session=False)
        )
        merges = self._count(Merge.adapter_id == adapter.id, Merge.deleted_at.is_(None))
        return Removed(merges=merges, links=sum(bool(was_in_force) for was_in_force in ended.scalars()))

    def delete_merge(self, name_or_id: str) -> Removed:
        """Nothing else needs it: what was trained and what it was trained on stay."""
        self._mark(Merge, self.merge(name_or_id, Verb.DELETE).id)
        return Removed()

    def delete_base(self, name_or_id: str) -> Removed:
        """Of the whole installation. The name becomes free for another import; history shows it as deleted."""
        base = self.base(name_or_id)
        self.require(Verb.DELETE, Kind.BASE, None, None, "base models of this installation")
        training = self._working(JobKind.TRAIN, Job.spec["base"].as_string() == base.id)
        if training:
            raise Conflict(f"{base.name} is used by {self._named(training)}. Cancel that or wait for its end.")
        query = select(Adapter.name, Adapter.team_id).where(Adapter.base_id == base.id, Adapter.deleted_at.is_(None))
        needing = [(name, team) for name, team in self.session.execute(query.order_by(Adapter.id.desc()))]
        if needing:
            raise Conflict(
                f"{base.name} is what {self._named(needing)} run{'s' * (len(needing) == 1)} on. "
                "Delete what was trained on it first."
            )
        base.name = f"{base.name[: LONGEST_BASE_NAME - 20]} (deleted {base.id[-8:]})"
        base.deleted_at = db_now()  # type: ignore[assignment]
        self.session.flush()
        return Removed(
            runs=self._count(Job.kind == JobKind.TRAIN, Job.spec["base"].as_string() == base.id, self._seen_jobs()),
            merges=self._count(Merge.base_id == base.id, Merge.deleted_at.is_(None), self.within(Merge.team_id)),
        )

    def _refuse_used(self, file_ids: Sequence[str], what: str) -> Removed:
        """Raises Conflict naming the work that still needs these files; else how many ended trainings used them."""
        uses = or_(
            Job.spec[("data", "training_file")].as_string().in_(file_ids),
            Job.spec[("data", "validation_file")].as_string().in_(file_ids),
            # In a list of unknown length: JSON paths differ between databases, the text of an id does not.
            *(cast(Job.spec[("data", "rows", "mixed")], SqlString).contains(file) for file in file_ids),
        )
        # Checks and counts of rows that are gone are nobody's loss; an edit is somebody's work.
        edited = self._working(JobKind.EDIT_DATA, Job.spec["file"].as_string().in_(file_ids))
        if working := self._working(JobKind.TRAIN, uses) + edited:
            raise Conflict(f"This {what} is used by {self._named(working)}. Cancel that or wait for its end.")
        return Removed(runs=self._count(Job.kind == JobKind.TRAIN, uses, self._seen_jobs()))

    def _working(self, kind: JobKind, needs: ColumnElement[bool]) -> list[tuple[str, str | None]]:
        """Jobs of any team that have not ended: a base or a sample is everybody's."""
        states = (JobState.QUEUED, JobState.RUNNING)
        query = select(Job.id, Job.team_id).where(Job.kind == kind, Job.state.in_(states), needs)
        return [(job, team) for job, team in self.session.execute(query.order_by(Job.id))]

    def _named(self, found: Iterable[tuple[str, str | None]]) -> str:
        """Names of the own team's; another team's things are only counted (promise P9)."""
        teams = [(name, team == self.team) for name, team in found]
        own = [name for name, is_own in teams if is_own]
        parts = own[:NAMED]
        if more := len(own) - len(parts):
            parts.append(f"{more} more")
        if others := len(teams) - len(own):
            parts.append(f"{others} of other teams")
        return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]

    def _live_versions(self, dataset_id: str) -> list[str]:
        query = select(DatasetVersion.id).where(
            DatasetVersion.dataset_id == dataset_id, DatasetVersion.deleted_at.is_(None)
        )
        return list(self.session.scalars(query))

    def _mark(self, table: type[Dataset | Adapter | Merge], row_id: str) -> None:
        self.session.execute(update(table).where(table.id == row_id).values(deleted_at=db_now()))

    def _count(self, *conditions: ColumnElement[bool]) -> int:
        return self.session.scalar(select(func.count()).where(*conditions)) or 0

    def _seen_jobs(self) -> ColumnElement[bool]:
        return self.within(Job.team_id, shared=True) & Job.deleted_at.is_(None)
