"""TeamStore's datasets and files (versions)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, or_, select

from models.db.store.scope import Page, Scoped, absent
from models.db.store.versions import NewFile, insert_version
from models.db.tables import Dataset, DatasetVersion, Job, User
from models.domain.access import Kind, Verb
from models.domain.errors import Conflict
from models.domain.ids import new_id
from models.domain.job import JobKind

_TRAINING_FILE = Job.spec[("data", "training_file")].as_string()
_VALIDATION_FILE = Job.spec[("data", "validation_file")].as_string()
_MIXED = Job.spec[("data", "rows", "mixed")]


def files_used(data: Mapping[str, Any]) -> set[str]:
    """The files of a training's `data`, mixed ones and the one to validate with among them."""
    files = (data.get("training_file"), data.get("validation_file"), *_mixed_in((data.get("rows") or {}).get("mixed")))
    return {file for file in files if file}


def _mixed_in(mixed: Sequence[Mapping[str, Any]] | None) -> list[str]:
    return [each["file"] for each in mixed or ()]


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """A dataset with its newest version that was not deleted, and how many there are."""

    dataset: Dataset
    newest: DatasetVersion
    versions: int
    maker: str | None


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    version: DatasetVersion
    maker: str | None


class TeamData(Scoped):
    """Files are added once and never changed."""

    def add_file(self, *, shared: bool = False, **facts: Any) -> DatasetVersion:
        """A new dataset, named as its first version; `facts` are those of NewFile. `shared`: a sample for everybody."""
        new, team = NewFile(**facts), None if shared else self.team
        self.require(Verb.CREATE, Kind.DATASET, team, self.user, "datasets")
        dataset = Dataset(id=new_id("dataset"), team_id=team, name=new.filename, created_by=self.user)
        self.session.add(dataset)
        self.session.flush()
        return insert_version(self.session, dataset, new, self.user)

    def add_version(self, dataset_id: str, **facts: Any) -> DatasetVersion:
        """The next version of a dataset; `facts` are those of NewFile."""
        return insert_version(self.session, self.dataset_for_version(dataset_id), NewFile(**facts), self.user)

    def dataset_for_version(self, dataset_id: str) -> Dataset:
        """The dataset, if the principal may add to it. Raises NotFound, Forbidden, or Conflict for samples."""
        dataset = self.dataset(dataset_id, Verb.CHANGE)
        if dataset.team_id is None:
            raise Conflict(f"{dataset.name} is a sample and stays as it is. Upload the file as a dataset of its own.")
        return dataset

    def dataset(self, dataset_id: str, verb: Verb = Verb.READ) -> Dataset:
        row = self.session.scalar(
            select(Dataset).where(
                Dataset.id == dataset_id, Dataset.deleted_at.is_(None), self.within(Dataset.team_id, shared=True)
            )
        )
        if row is None:
            raise absent("dataset", dataset_id)
        self.require(verb, Kind.DATASET, row.team_id, row.created_by, "this dataset")
        return row

    def search_datasets(self, words: str, *, limit: int, offset: int) -> tuple[list[DatasetRow], int]:
        """The team's own, newest change first, then the samples; with how many there are in all.

        Every word stands in the name, the format or the maker's address.
        """
        live = (
            select(
                DatasetVersion.dataset_id,
                func.max(DatasetVersion.number).label("number"),
                func.count().label("versions"),
            )
            .where(DatasetVersion.deleted_at.is_(None), self.within(DatasetVersion.team_id, shared=True))
            .group_by(DatasetVersion.dataset_id)
            .subquery()
        )
        newest = (DatasetVersion.dataset_id == live.c.dataset_id) & (DatasetVersion.number == live.c.number)
        query = (
            select(Dataset, DatasetVersion, live.c.versions, User.email)
            .join(live, live.c.dataset_id == Dataset.id)
            .join(DatasetVersion, newest)
            .outerjoin(User, User.id == Dataset.created_by)
            .where(Dataset.deleted_at.is_(None), self.within(Dataset.team_id, shared=True))
        )
        places = (Dataset.name, DatasetVersion.format, User.email)
        for word in words.lower().split()[:8]:
            query = query.where(
                or_(*(func.lower(func.coalesce(place, "")).contains(word, autoescape=True) for place in places))
            )
        total = self.session.scalar(select(func.count()).select_from(query.subquery())) or 0
        ordered = query.order_by(Dataset.team_id.is_(None), DatasetVersion.id.desc()).limit(limit).offset(offset)
        return [
            DatasetRow(dataset=row[0], newest=row[1], versions=row[2], maker=row[3])
            for row in self.session.execute(ordered)
        ], total

    def versions_of(self, dataset_id: str) -> list[VersionRow]:
        """Newest first, without the deleted ones."""
        self.dataset(dataset_id)
        query = (
            select(DatasetVersion, User.email)
            .outerjoin(User, User.id == DatasetVersion.created_by)
            .where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.deleted_at.is_(None))
            .order_by(DatasetVersion.number.desc())
        )
        return [VersionRow(version=row[0], maker=row[1]) for row in self.session.execute(query)]

    def trainings_on(self, dataset_id: str) -> list[Job]:
        """The team's trainings that used any version of the dataset, deleted versions too; newest first."""
        files = self._datasets_of_files([dataset_id])
        jobs = self.session.scalars(select(Job).where(self._may_use(list(files))).order_by(Job.id.desc()))
        return [job for job in jobs if not files.keys().isdisjoint(files_used(job.spec["data"]))]

    def training_counts(self, dataset_ids: Sequence[str]) -> dict[str, int]:
        """How many of the team's trainings used any version of each dataset. Reads no whole job: there are many."""
        dataset_of = self._datasets_of_files(dataset_ids)
        counts = dict.fromkeys(dataset_ids, 0)
        query = select(_TRAINING_FILE, _VALIDATION_FILE, _MIXED).where(self._may_use(list(dataset_of)))
        for training, validation, mixed in self.session.execute(query):
            files = (training, validation, *_mixed_in(mixed))
            for dataset_id in {dataset_of[file] for file in files if file in dataset_of}:
                counts[dataset_id] += 1
        return counts

    def _datasets_of_files(self, dataset_ids: Sequence[str]) -> dict[str, str]:
        query = select(DatasetVersion.id, DatasetVersion.dataset_id).where(
            DatasetVersion.dataset_id.in_(dataset_ids), self.within(DatasetVersion.team_id, shared=True)
        )
        return {file: dataset for file, dataset in self.session.execute(query)}  # noqa: C416 - rows, not pairs

    def _may_use(self, file_ids: Sequence[str]) -> ColumnElement[bool]:
        """All trainings on these files, and every other mix: what a list holds, databases ask in different words."""
        return and_(
            Job.kind == JobKind.TRAIN,
            Job.deleted_at.is_(None),
            self.within(Job.team_id),
            or_(_TRAINING_FILE.in_(file_ids), _VALIDATION_FILE.in_(file_ids), cast(_MIXED, String).contains("file-")),
        )

    def checks_of(self, file_ids: Sequence[str]) -> dict[str, Job]:
        """The newest check of each of these files, by file."""
        query = (
            select(Job)
            .where(
                Job.kind == JobKind.CHECK_DATA,
                Job.spec["file"].as_string().in_(file_ids),
                self.within(Job.team_id, shared=True),
            )
            .order_by(Job.id)
        )
        return {job.spec["file"]: job for job in self.session.scalars(query)}

    def file(self, file_id: str, verb: Verb = Verb.READ) -> DatasetVersion:
        row = self.session.scalar(
            select(DatasetVersion).where(
                DatasetVersion.id == file_id,
                DatasetVersion.deleted_at.is_(None),
                self.within(DatasetVersion.team_id, shared=True),
            )
        )
        if row is None:
            raise absent("file", file_id)
        self.require(verb, Kind.DATASET, row.team_id, row.created_by, "this file")
        return row

    def files(
        self, *, limit: int, after: str | None = None, purpose: str | None = None, ascending: bool = False
    ) -> Page[DatasetVersion]:
        """Newest first (ids sort by time). Samples are listed with the team's own."""
        query = select(DatasetVersion).where(
            DatasetVersion.deleted_at.is_(None), self.within(DatasetVersion.team_id, shared=True)
        )
        if purpose is not None:
            query = query.where(DatasetVersion.purpose == purpose)
        if after is not None:
            query = query.where(DatasetVersion.id > after if ascending else DatasetVersion.id < after)
        order: Any = DatasetVersion.id.asc() if ascending else DatasetVersion.id.desc()
        return self.page(query.order_by(order), limit)
