"""TeamStore's adapters and merges as people look for them: by words, page by page, with what stands beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from models.db.store.scope import Scoped, absent
from models.db.tables import Adapter, BaseModel, Dataset, DatasetVersion, Job, Merge, User
from models.domain.access import Kind, Verb
from models.domain.job import JobKind


@dataclass(frozen=True, kw_only=True)
class AdapterRow:
    adapter: Adapter
    base_name: str
    maker: str | None
    merges: int


@dataclass(frozen=True, kw_only=True)
class MergeRow:
    merge: Merge
    base_name: str
    maker: str | None


@dataclass(frozen=True, kw_only=True)
class FileOrigin:
    """A training file in its dataset; `is_gone` where either was deleted since."""

    version: DatasetVersion
    dataset: Dataset
    is_gone: bool


class TeamShelf(Scoped):
    """Only reads, but for the card."""

    def search_adapters(self, words: str, *, limit: int, offset: int) -> tuple[list[AdapterRow], int]:
        """Newest first, with how many there are in all."""
        merges = (
            select(func.count())
            .where(Merge.adapter_id == Adapter.id, Merge.deleted_at.is_(None))
            .correlate(Adapter)
            .scalar_subquery()
        )
        query = (
            select(Adapter, BaseModel.name, User.email, merges)
            .join(BaseModel, BaseModel.id == Adapter.base_id)
            .outerjoin(User, User.id == Adapter.created_by)
            .where(Adapter.deleted_at.is_(None), self.within(Adapter.team_id), _all_words(words, Adapter.name))
            .order_by(Adapter.id.desc())
        )
        rows, total = self._page_of(query, limit, offset)
        return [AdapterRow(adapter=row[0], base_name=row[1], maker=row[2], merges=row[3]) for row in rows], total

    def search_merges(self, words: str, *, limit: int, offset: int) -> tuple[list[MergeRow], int]:
        query = (
            select(Merge, BaseModel.name, User.email)
            .join(BaseModel, BaseModel.id == Merge.base_id)
            .outerjoin(User, User.id == Merge.created_by)
            .where(Merge.deleted_at.is_(None), self.within(Merge.team_id), _all_words(words, Merge.name))
            .order_by(Merge.id.desc())
        )
        rows, total = self._page_of(query, limit, offset)
        return [MergeRow(merge=row[0], base_name=row[1], maker=row[2]) for row in rows], total

    def merges_of(self, adapter_id: str) -> list[Merge]:
        """Of one adapter, newest first."""
        query = select(Merge).where(
            Merge.adapter_id == adapter_id, Merge.deleted_at.is_(None), self.within(Merge.team_id)
        )
        return list(self.session.scalars(query.order_by(Merge.id.desc())))

    def last_merge_job(self, adapter_id: str) -> Job | None:
        """The newest job that merges or merged this adapter."""
        query = select(Job).where(
            Job.kind == JobKind.MERGE,
            Job.spec["adapter"].as_string() == adapter_id,
            Job.deleted_at.is_(None),
            self.within(Job.team_id),
        )
        return self.session.scalar(query.order_by(Job.id.desc()).limit(1))

    def origin_of(self, file_id: str) -> FileOrigin | None:
        """Where a training file belongs, deleted or not: lineage outlives its files."""
        row = self.session.execute(
            select(DatasetVersion, Dataset)
            .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
            .where(DatasetVersion.id == file_id, self.within(DatasetVersion.team_id, shared=True))
        ).one_or_none()
        if row is None:
            return None
        version, dataset = row
        is_gone = version.deleted_at is not None or dataset.deleted_at is not None
        return FileOrigin(version=version, dataset=dataset, is_gone=is_gone)

    def email_of(self, user_id: str | None) -> str | None:
        """Who made something of the team; None for the installation itself."""
        return self.session.scalar(select(User.email).where(User.id == user_id)) if user_id else None

    def write_card(self, adapter_id: str, text: str) -> Adapter:
        query = select(Adapter).where(
            Adapter.id == adapter_id, Adapter.deleted_at.is_(None), self.within(Adapter.team_id)
        )
        row = self.session.scalar(query)
        if row is None:
            raise absent("adapter", adapter_id)
        self.require(Verb.CHANGE, Kind.ADAPTER, row.team_id, row.created_by, "this adapter", row.id)
        row.card = text
        self.session.flush()
        return row

    def _page_of(self, query: Any, limit: int, offset: int) -> tuple[Sequence[Any], int]:
        total = self.session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
        return self.session.execute(query.limit(limit).offset(offset)).all(), total


def _all_words(words: str, name: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Every word stands somewhere in the public name, the base's name or the maker's address."""
    places = (func.lower(name), func.lower(BaseModel.name), func.lower(func.coalesce(User.email, "")))
    condition: ColumnElement[bool] = name.is_not(None)
    for word in words.lower().split()[:8]:
        condition &= or_(*(place.contains(word, autoescape=True) for place in places))
    return condition
