"""Datasets as their team sees them: the list, and one with its versions, their checks, and the runs that used it."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.db.store.team import TeamStore
from models.db.store.team_data import files_used
from models.db.tables import Dataset, DatasetVersion, Job
from models.domain.access import Kind, Object, Principal, Verb, can
from models.domain.dataset import Check, CheckState
from models.domain.errors import NotFound
from models.domain.ids import TeamId, UserId
from models.domain.job import JobState
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class VersionSeen:
    version: DatasetVersion
    check: Check
    maker: str | None

    @property
    def bad_rows(self) -> int:
        return (self.version.rows or 0) - (self.version.usable_rows or 0)


@dataclass(frozen=True, kw_only=True)
class DatasetSeen:
    """A line of the list. `newest` is the version that a new run trains on; `may_add`: this person, a further one."""

    dataset: Dataset
    newest: VersionSeen
    versions: int
    runs: int
    maker: str | None
    may_add: bool

    @property
    def is_sample(self) -> bool:
        return self.dataset.team_id is None


@dataclass(frozen=True, kw_only=True)
class Run:
    job: Job
    base_name: str | None
    versions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetPage:
    """One dataset. `versions` newest first; `may_*` say what this person can do to it."""

    dataset: Dataset
    versions: tuple[VersionSeen, ...]
    runs: tuple[Run, ...]
    maker: str | None
    may_train: bool
    may_add: bool
    may_delete: bool

    @property
    def is_sample(self) -> bool:
        return self.dataset.team_id is None

    def version(self, number: int | None) -> VersionSeen:
        """The one with this number, or the newest."""
        return next((each for each in self.versions if each.version.number == number), self.versions[0])


def list_datasets(
    deps: Deps, principal: Principal, words: str = "", *, limit: int, offset: int = 0
) -> tuple[list[DatasetSeen], int]:
    """The team's own, newest change first, then the samples; with how many there are in all."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        rows, total = store.search_datasets(words, limit=limit, offset=offset)
        checks = _checks(store, [row.newest for row in rows])
        runs = store.training_counts([row.dataset.id for row in rows])
        return [
            DatasetSeen(
                dataset=row.dataset,
                newest=VersionSeen(version=row.newest, check=_check(row.newest, checks), maker=row.maker),
                versions=row.versions,
                runs=runs[row.dataset.id],
                maker=row.maker,
                may_add=_may_add(principal, row.dataset),
            )
            for row in rows
        ], total


def show_dataset(deps: Deps, principal: Principal, dataset_id: str) -> DatasetPage:
    """Raises NotFound."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        dataset, versions = store.dataset(dataset_id), store.versions_of(dataset_id)
        if not versions:
            raise NotFound("Every version of this dataset was deleted. Look for another one in the list.")
        checks = _checks(store, [row.version for row in versions])
        number_of = {row.version.id: row.version.number for row in versions}
        bases = {base.id: base.name for base in store.bases()}
        return DatasetPage(
            dataset=dataset,
            versions=tuple(
                VersionSeen(version=row.version, check=_check(row.version, checks), maker=row.maker) for row in versions
            ),
            runs=tuple(_run(job, bases, number_of) for job in store.trainings_on(dataset_id)),
            maker=versions[-1].maker if versions else None,
            may_train=may_create(principal, Kind.JOB),
            may_add=_may_add(principal, dataset),
            may_delete=_may(principal, Verb.DELETE, dataset),
        )


def may_create(principal: Principal, kind: Kind = Kind.DATASET) -> bool:
    """May this person add such things to the team?"""
    return can(principal, Verb.CREATE, Object(kind=kind, team=principal.team, owner=getattr(principal, "user", None)))


def _may_add(principal: Principal, dataset: Dataset) -> bool:
    """A sample stays as it is, whoever asks."""
    return dataset.team_id is not None and _may(principal, Verb.CHANGE, dataset)


def _may(principal: Principal, verb: Verb, dataset: Dataset) -> bool:
    team = TeamId(dataset.team_id) if dataset.team_id else None
    owner = UserId(dataset.created_by) if dataset.created_by else None
    return can(principal, verb, Object(kind=Kind.DATASET, team=team, owner=owner))


def _checks(store: TeamStore, versions: Sequence[DatasetVersion]) -> dict[str, Job]:
    waiting = [version.id for version in versions if version.status == "uploaded"]
    return store.checks_of(waiting) if waiting else {}


def _check(version: DatasetVersion, jobs: dict[str, Job]) -> Check:
    match version.status:
        case "processed" if version.usable_rows == version.rows:
            return Check(state=CheckState.GOOD)
        case "processed":
            return Check(state=CheckState.WITH_PROBLEMS)
        case "error":
            return Check(state=CheckState.UNUSABLE, sentence=version.status_details)
    job = jobs.get(version.id)
    if job is None or JobState(job.state).is_terminal:
        why = (job.error or {}).get("message") if job else None
        return Check(state=CheckState.NOT_CHECKED, sentence=why or "The check did not come to its end.")
    if job.state == JobState.QUEUED:
        return Check(state=CheckState.WAITING)
    return Check(state=CheckState.CHECKING, share=min(1.0, (job.done or 0) / job.total) if job.total else None)


def _run(job: Job, bases: dict[str, str], number_of: dict[str, int]) -> Run:
    used = {number_of.get(file) for file in files_used(job.spec["data"])}
    return Run(
        job=job,
        base_name=bases.get(job.spec.get("base", "")),
        versions=tuple(sorted(number for number in used if number is not None)),
    )
