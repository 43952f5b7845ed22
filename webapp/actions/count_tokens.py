"""Token counts of a version for one base: the report where it exists, the job where it runs, else a new job."""

from dataclasses import dataclass

from models.db.store.reports import tokens_key
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_reports import is_unfinished, lock_name
from models.domain.access import Principal, Verb
from models.domain.data_jobs import CountTokensSpec
from models.domain.errors import Conflict, Invalid
from models.domain.ids import BaseId, FileId
from models.domain.job import JobKind, Lane
from models.domain.training import TrainOn
from webapp.actions.data_reports import TokensSeen, seen_count
from webapp.actions.flood import refuse_flood
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.actions.upload_file import File
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Counting:
    """`job` is None where the report was there already."""

    seen: TokensSeen
    job: JobSeen | None


def count_tokens(
    deps: Deps,
    principal: Principal,
    file_id: str,
    base: str,
    train_on: TrainOn = TrainOn.ASSISTANT,
    template_arguments: dict[str, str | bool | int] | None = None,
) -> Counting:
    """`base` is an id or a public name. Whoever may train may count; the same count is never made twice.

    Raises NotFound (file, base), Forbidden, Conflict while the file is being checked, Invalid where it is unusable.
    """
    told = template_arguments or {}
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        file, chosen = store.file(file_id, Verb.USE), store.base(base)
        must_be_usable(file)
        key = tokens_key(chosen.tree_sha256, train_on, told)
        SystemStore(session).take_lease(lock_name("tokens", file.id, key), "count", 1)
        if (report := store.tokens_report(file.id, chosen, train_on, told)) is not None:
            return Counting(seen=seen_count(report, None, chosen, key), job=None)
        wish = CountTokensSpec(
            file=FileId(file.id), base=BaseId(chosen.id), train_on=train_on, template_arguments=told
        )  # fmt: skip
        spec = wish.model_dump(mode="json")
        same = [job for job in store.data_jobs(file.id, JobKind.COUNT_TOKENS) if job.spec == spec]
        running = next((job for job in same if is_unfinished(job)), None)
        if running is None:
            refuse_flood(store, JobKind.COUNT_TOKENS)
        job = running or store.submit(JobKind.COUNT_TOKENS, spec)
        counting = Counting(seen=seen_count(None, job, chosen, key), job=see(store, job))
    if running is None:
        ring(deps.broker, Lane.LIGHT)
    return counting


def must_be_usable(file: File) -> None:
    """Raises Conflict for a file whose check has not ended, Invalid for one that cannot be used."""
    if file.status == "error":
        raise Invalid(f"{file.filename} cannot be used: {file.status_details} Correct it first.")
    if file.status != "processed":
        raise Conflict(f"{file.filename} is still being checked. Try again when its check has ended.")
