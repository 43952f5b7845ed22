"""Token counts for a training that is being set up: those that are there, and the wish for those that are not."""

from collections.abc import Sequence

from models.db.store.reports import tokens_key
from models.db.store.team import TeamStore
from models.db.tables import BaseModel, DatasetVersion
from models.domain.access import Principal
from models.domain.data_jobs import CountTokensSpec
from models.domain.errors import Conflict, Forbidden, Invalid, NotFound
from models.domain.ids import BaseId, FileId
from models.domain.job import JobKind
from models.domain.training import DataSpec, TrainingSpec
from webapp.actions.count_tokens import count_tokens
from webapp.actions.data_reports import TokensSeen, seen_count
from webapp.deps import Deps


def counts_of(store: TeamStore, files: Sequence[DatasetVersion], base: BaseModel, data: DataSpec) -> list[TokensSeen]:
    """For each file its count for this base and way of writing, or how far that is."""
    key = tokens_key(base.tree_sha256, data.train_on, data.template_arguments)
    return [_count(store, file, base, data, key) for file in files]


def files_of(data: DataSpec) -> tuple[str, ...]:
    """The versions that are trained on, the first one first."""
    return (data.training_file, *(each.file for each in data.rows.mixed))


def ask_counts(deps: Deps, principal: Principal, spec: TrainingSpec) -> None:
    """Queue what nobody has counted yet. Who may not train asks for nothing, and an unusable file is not counted."""
    for file in files_of(spec.data):
        if not file or not spec.base:
            continue
        try:
            count_tokens(deps, principal, file, spec.base, spec.data.train_on, dict(spec.data.template_arguments))
        except (NotFound, Forbidden, Conflict, Invalid):
            continue  # the form says beside the field what is wrong with it


def _count(store: TeamStore, file: DatasetVersion, base: BaseModel, data: DataSpec, key: str) -> TokensSeen:
    report = store.tokens_report(file.id, base, data.train_on, data.template_arguments)
    if report is not None:
        return seen_count(report, None, base, key)
    spec = CountTokensSpec(
        file=FileId(file.id), base=BaseId(base.id), train_on=data.train_on, template_arguments=data.template_arguments
    ).model_dump(mode="json")
    jobs = store.data_jobs(file.id, JobKind.COUNT_TOKENS)
    return seen_count(None, next((job for job in jobs if job.spec == spec), None), base, key)
