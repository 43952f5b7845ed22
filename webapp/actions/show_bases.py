"""Base models with who stands on them, the imports on their way, and whether this person may add one."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath

from models.db.store.team import TeamStore
from models.db.tables import BaseModel, Job
from models.domain.access import Kind, Object, Principal, Verb, can
from models.domain.job import JobKind, JobState
from webapp.actions.show_datasets import may_create
from webapp.deps import Deps

FAILURES_SHOWN_FOR = timedelta(days=3)
MOST_IMPORTS = 100


@dataclass(frozen=True, kw_only=True)
class BaseSeen:
    """`adapters` are the team's own; `reference` never shows where on this machine something lay."""

    row: BaseModel
    adapters: int
    reference: str


@dataclass(frozen=True, kw_only=True)
class ImportSeen:
    """An import that waits, runs, or has failed lately. `share` from 0 to 1 where it is known."""

    job: Job
    name: str
    reference: str
    share: float | None
    sentence: str | None


@dataclass(frozen=True, kw_only=True)
class BasesPage:
    """`administrators` are addresses in the person's own team: whom to ask."""

    bases: tuple[BaseSeen, ...]
    imports: tuple[ImportSeen, ...]
    may_manage: bool
    may_train: bool
    administrators: tuple[str, ...]
    is_offline: bool

    @property
    def is_moving(self) -> bool:
        return any(not JobState(each.job.state).is_terminal for each in self.imports)


def show_bases(deps: Deps, principal: Principal) -> BasesPage:
    """Bases by name."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        adapters, rows = store.adapters_by_base(), sorted(store.bases(), key=lambda row: row.name)
        jobs = store.jobs(limit=MOST_IMPORTS, kinds=(JobKind.ADD_BASE,)).items
        may_manage = can(principal, Verb.CREATE, Object(kind=Kind.BASE, team=None))
        return BasesPage(
            bases=tuple(
                BaseSeen(row=row, adapters=adapters.get(row.id, 0), reference=_shown(row.source, row.reference))
                for row in rows
            ),
            imports=tuple(_import(job) for job in _telling(jobs, {row.name for row in rows})),
            may_manage=may_manage,
            may_train=may_create(principal, Kind.JOB),
            administrators=() if may_manage else tuple(store.administrators()),
            is_offline=deps.settings.hub_offline,
        )


def describe_base(deps: Deps, principal: Principal, base_id: str, description: str) -> BaseModel:
    """Raises NotFound, or Forbidden for everybody but administrators."""
    with deps.database.write() as session:
        return TeamStore(session, principal).describe_base(base_id, description)


def _telling(jobs: list[Job], here: set[str]) -> list[Job]:
    """Of each name the newest import, unless it has become a base or failed long ago. `jobs` come newest first."""
    found: dict[str, Job] = {}
    for job in jobs:
        found.setdefault(job.spec["name"], job)
    long_ago = datetime.now(UTC) - FAILURES_SHOWN_FOR
    return [
        job
        for name, job in found.items()
        if not JobState(job.state).is_terminal
        or (job.state == JobState.FAILED and name not in here and job.finished_at and job.finished_at > long_ago)
    ]


def _import(job: Job) -> ImportSeen:
    return ImportSeen(
        job=job,
        name=job.spec["name"],
        reference=_shown(job.spec["source"], job.spec["reference"]),
        share=min(1.0, (job.done or 0) / job.total) if job.total and job.state == JobState.RUNNING else None,
        sentence=(job.error or {}).get("message"),
    )


def _shown(source: str, reference: str) -> str:
    return reference if source == "hub" else PurePath(reference).name
