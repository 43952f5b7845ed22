"""TeamStore's datasets and files (versions)."""

from typing import Any

from sqlalchemy import select

from models.db.store.scope import Page, Scoped, absent
from models.db.tables import Blob, Dataset, DatasetVersion
from models.domain.access import Kind, Verb
from models.domain.ids import new_id


class TeamData(Scoped):
    """Files are added once and never changed."""

    def add_file(
        self, *, filename: str, purpose: str, scope: str, sha256: str, size: int, shared: bool = False
    ) -> DatasetVersion:
        """A new dataset with its first version. `shared` makes a sample that everybody reads."""
        team = None if shared else self.team
        self.require(Verb.CREATE, Kind.DATASET, team, self.user, "datasets")
        if self.session.get(Blob, (scope, sha256)) is None:
            self.session.add(Blob(scope=scope, sha256=sha256, size=size))
        dataset = Dataset(id=new_id("dataset"), team_id=team, name=filename, created_by=self.user)
        self.session.add(dataset)
        self.session.flush()
        version = DatasetVersion(
            id=new_id("file"), dataset_id=dataset.id, team_id=team, filename=filename, purpose=purpose,
            scope=scope, sha256=sha256, size=size, created_by=self.user,
        )  # fmt: skip
        self.session.add(version)
        self.session.flush()
        return version

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
