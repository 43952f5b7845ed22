"""Which stored bytes somebody still refers to, and how the rows of the others go. Touches no file.

The race it is built against: equal bytes are put again, or a job settles, just while their old row is cleared away.
1. Who refers to bytes puts them first (storage renews their time), then writes the reference and renews the blob's
   row (`remember`) in one transaction.
2. `forget` deletes a row only while it is old, under its lock and in one order for all. A renewal that comes first
   keeps it; one that waits for the lock finds no row and inserts it anew, which also holds on PostgreSQL.
3. Only then are files looked at: one without a row goes if it was not put for `gc_after_seconds` (`Storage.discard`).
So what was referred to a moment ago has a young file, whatever became of its row; and a process that is killed
between row and file leaves a file without a row, which the next round takes.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.db.tables import (
    Adapter,
    BaseModel,
    Blob,
    Checkpoint,
    DatasetPart,
    DatasetReport,
    DatasetVersion,
    Job,
    Merge,
    Team,
    db_now,
)
from models.domain.chat import TreeRef
from models.domain.ids import Sha256
from models.domain.job import JobKind, JobState

CHECKPOINTS_KEPT = 3  # of a job that has not ended: one may be damaged, one half-uploaded
ACTIVE = (JobState.QUEUED, JobState.RUNNING)
Key = tuple[str, str]  # scope, sha256


@dataclass(frozen=True, kw_only=True)
class InUse:
    """Trees and single files that rows refer to."""

    trees: frozenset[TreeRef]
    files: frozenset[Key]


def remember(session: Session, blobs: Iterable[Blob]) -> None:
    """Write or renew the rows of stored bytes, in the transaction that refers to them."""
    values = [
        {"scope": blob.scope, "sha256": blob.sha256, "size": blob.size, "is_tree": bool(blob.is_tree)}
        for blob in blobs
    ]  # fmt: skip
    if values:
        table = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        statement = table.insert(Blob)
        renewed = statement.on_conflict_do_update(
            index_elements=["scope", "sha256"], set_={"created_at": db_now()}
        )  # fmt: skip
        # One order for all: two transactions that write the same rows must not wait for each other.
        session.execute(renewed, sorted(values, key=lambda row: (row["scope"], row["sha256"])))


class GarbageStore:
    """The part of SystemStore that clears away."""

    session: Session

    def installation(self) -> str:
        """What tells this database from another: two that share a storage by mistake must not clear it."""
        born = self.session.scalars(select(Team.created_at).order_by(Team.created_at, Team.id).limit(1)).one()
        return born.isoformat()

    def drop_checkpoints(self, gc_after_seconds: float, keep_seconds: float) -> int:
        """Forget the checkpoints that no job goes on from, and of a job that has not ended all but the newest."""
        resumed = self._resumed()
        owners = self.session.execute(
            select(Job.id, Job.state, Job.deleted_at, *self._ages(gc_after_seconds, keep_seconds)).where(
                Job.id.in_(select(Checkpoint.job_id).distinct())
            )
        )
        gone, thinned = [], []
        for job, state, deleted_at, is_fresh, may_be_retried in owners:
            if state in ACTIVE:
                thinned.append(job)
            elif job not in resumed and not is_fresh and not (may_be_retried and deleted_at is None):
                gone.append(job)
        dropped = self._rows(delete(Checkpoint).where(Checkpoint.job_id.in_(gone)))
        for job in thinned:
            steps = self.session.scalars(
                select(Checkpoint.step).where(Checkpoint.job_id == job).order_by(Checkpoint.step.desc())
            ).all()
            old = steps[CHECKPOINTS_KEPT:]
            dropped += self._rows(delete(Checkpoint).where(Checkpoint.job_id == job, Checkpoint.step.in_(old)))
        return dropped

    def in_use(self, gc_after_seconds: float) -> InUse:
        """Of rows that live or were deleted just now, and of all that unfinished jobs name, deleted or not."""
        named = self._named_by_jobs()
        young = db_now(-gc_after_seconds)
        trees: set[TreeRef] = set()
        bases: set[str] = set()
        for table in (Adapter, Merge):
            kept = table.deleted_at.is_(None) | (table.deleted_at > young) | table.id.in_(named)
            for scope, tree, base in self.session.execute(
                select(table.scope, table.tree_sha256, table.base_id).where(kept)
            ):
                trees.add(TreeRef(scope=scope, sha256=Sha256(tree)))
                bases.add(base)
        kept = BaseModel.deleted_at.is_(None) | (BaseModel.deleted_at > young) | BaseModel.id.in_(named | bases)
        for table, where in ((BaseModel, kept), (Checkpoint, None)):
            query = select(table.scope, table.tree_sha256)
            for scope, tree in self.session.execute(query if where is None else query.where(where)):
                trees.add(TreeRef(scope=scope, sha256=Sha256(tree)))
        version = DatasetVersion
        kept = version.deleted_at.is_(None) | (version.deleted_at > young) | version.id.in_(named)
        files = {(scope, sha) for scope, sha in self.session.execute(select(version.scope, version.sha256).where(kept))}
        prepared = select(version.scope, version.rows_sha256).where(kept, version.rows_sha256.is_not(None))
        for table in (DatasetPart, DatasetReport):
            found = select(table.scope, table.sha256).join(version, version.id == table.version_id).where(kept)
            files |= {(scope, sha) for scope, sha in self.session.execute(found)}
        files |= {(scope, sha) for scope, sha in self.session.execute(prepared) if sha}
        return InUse(trees=frozenset(trees), files=frozenset(files))

    def old_blobs(self, gc_after_seconds: float) -> list[Key]:
        """Rows that nobody renewed for so long, in the order in which `forget` locks them."""
        query = select(Blob.scope, Blob.sha256).where(Blob.created_at < db_now(-gc_after_seconds))
        return [(scope, sha) for scope, sha in self.session.execute(query.order_by(Blob.scope, Blob.sha256))]

    def forget(self, keys: Collection[Key], gc_after_seconds: float) -> int:
        """Delete these rows, except those that were renewed meanwhile or are being renewed now."""
        locked = self.session.execute(
            select(Blob.scope, Blob.sha256)
            .where(tuple_(Blob.scope, Blob.sha256).in_(list(keys)), Blob.created_at < db_now(-gc_after_seconds))
            .order_by(Blob.scope, Blob.sha256)
            .with_for_update(skip_locked=True)  # ignored by SQLite, where writers queue
        ).all()
        mine = [(scope, sha) for scope, sha in locked]
        return self._rows(delete(Blob).where(tuple_(Blob.scope, Blob.sha256).in_(mine))) if mine else 0

    def known_blobs(self) -> set[Key]:
        """All rows there are."""
        return {(scope, sha) for scope, sha in self.session.execute(select(Blob.scope, Blob.sha256))}

    def _ages(self, gc_after_seconds: float, keep_seconds: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """Ended just now; ended without a result, and not too long ago to be taken up again."""
        unfinished = Job.state.in_((JobState.FAILED, JobState.CANCELLED))
        return (
            Job.finished_at.is_not(None) & (Job.finished_at > db_now(-gc_after_seconds)),
            unfinished & (Job.finished_at > db_now(-keep_seconds)),
        )

    def _resumed(self) -> set[str]:
        """Jobs that an unfinished one goes on from, directly or through others."""
        found: set[str] = set()
        wanted = set(self.session.scalars(select(Job.resumes).where(Job.state.in_(ACTIVE), Job.resumes.is_not(None))))
        while wanted := wanted - found:
            found |= wanted  # type: ignore[arg-type]
            wanted = set(
                self.session.scalars(select(Job.resumes).where(Job.id.in_(wanted), Job.resumes.is_not(None)))
            )  # fmt: skip
        return found

    def _named_by_jobs(self) -> set[str]:
        """Ids of files, bases and adapters that unfinished jobs need; a merge also listens to its adapter's rows."""
        named: set[str] = set()
        merging: list[str] = []
        for kind, spec in self.session.execute(select(Job.kind, Job.spec).where(Job.state.in_(ACTIVE))):
            named |= _ids_in(spec)
            if kind == JobKind.MERGE:
                merging.append(spec.get("adapter", ""))
        trainings = select(Job.spec).join(Adapter, Adapter.job_id == Job.id).where(Adapter.id.in_(merging))
        for spec in self.session.scalars(trainings):
            named |= _ids_in(spec)
        return named

    def _rows(self, statement: Any) -> int:
        result: Any = self.session.execute(statement.execution_options(synchronize_session=False))
        return result.rowcount


def _ids_in(spec: dict[str, Any]) -> set[str]:
    data = spec.get("data") or {}
    ids = (spec.get("file"), spec.get("base"), spec.get("adapter"), data.get("training_file"))
    mixed = [each.get("file") for each in (data.get("rows") or {}).get("mixed") or ()]
    return {found for found in (*ids, data.get("validation_file"), *mixed) if isinstance(found, str)}
