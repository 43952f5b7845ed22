"""How a dataset gets its next version, whoever adds it: a person's upload, or a job that edited or fetched one.

Decides no right. The row of the dataset is locked while a number is given out, so that two never get the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from models.db.store.garbage import remember
from models.db.tables import Blob, Dataset, DatasetPart, DatasetVersion, Job, JobEvent
from models.domain.ids import new_id
from models.domain.job import LANE_OF, PRIORITY_OF, JobKind, JobState
from models.domain.reading import Part, Reading


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """What a version is made of. `parts` where it was made of several files; `sha256` is then their list.

    `size` in bytes is the sum of the files', `list_size` that of the list. `format` is filled in where it is known
    before the check.
    """

    filename: str
    scope: str
    sha256: str
    size: int
    purpose: str = "fine-tune"
    parts: Sequence[Part] = ()
    list_size: int = 0
    reading: Reading = field(default_factory=Reading)
    source: dict[str, Any] | None = None
    note: str | None = None
    made_from: str | None = None
    format: str | None = None


def insert_version(session: Session, dataset: Dataset, new: NewFile, created_by: str | None) -> DatasetVersion:
    """The next version of a dataset. Numbers are never used again, also not those of deleted versions."""
    session.execute(select(Dataset.id).where(Dataset.id == dataset.id).with_for_update())  # one at a time
    last = session.scalar(select(func.max(DatasetVersion.number)).where(DatasetVersion.dataset_id == dataset.id))
    remember(session, _blobs(new))
    version = DatasetVersion(
        id=new_id("file"), dataset_id=dataset.id, team_id=dataset.team_id, number=(last or 0) + 1,
        filename=new.filename, purpose=new.purpose, scope=new.scope, sha256=new.sha256, size=new.size,
        reading=new.reading.model_dump(mode="json"), source=new.source, note=new.note, made_from=new.made_from,
        format=new.format, created_by=created_by,
    )  # fmt: skip
    session.add(version)
    session.flush()
    for position, part in enumerate(new.parts):
        facts = part.model_dump(mode="json")
        session.add(DatasetPart(version_id=version.id, position=position, scope=new.scope, **facts))
    session.flush()
    return version


def queue_job(
    session: Session, kind: JobKind, spec: dict[str, Any], team: str | None, created_by: str | None
) -> str:  # fmt: skip
    """A job that another one brings about, in the transaction that settles it; returns its id."""
    job_id = new_id("job")
    session.add(
        Job(
            id=job_id, team_id=team, created_by=created_by, kind=kind, lane=LANE_OF[kind], spec=spec, meta={},
            priority=PRIORITY_OF.get(kind, 0), state=JobState.QUEUED,
        )
    )  # fmt: skip
    session.flush()
    said = {"type": "moved", "message": "created -> queued", "data": {"after": JobState.QUEUED}}
    session.execute(insert(JobEvent).values(job_id=job_id, fence=0, **said))
    return job_id


def newest_number(session: Session, dataset_id: str, *, passing_broken: bool = False) -> int:
    """Of the versions that were not deleted; 0 where there is none. `passing_broken`: of those that may be usable."""
    live = [DatasetVersion.dataset_id == dataset_id, DatasetVersion.deleted_at.is_(None)]
    if passing_broken:
        live.append(DatasetVersion.status != "error")
    return session.scalar(select(func.max(DatasetVersion.number)).where(*live)) or 0


def _blobs(new: NewFile) -> list[Blob]:
    own = Blob(scope=new.scope, sha256=new.sha256, size=new.list_size if new.parts else new.size)
    return [own, *(Blob(scope=new.scope, sha256=part.sha256, size=part.size) for part in _distinct(new.parts))]


def _distinct(parts: Sequence[Part]) -> list[Part]:
    """Equal files are one blob, and an upsert must not name a row twice."""
    return list({part.sha256: part for part in parts}.values())
