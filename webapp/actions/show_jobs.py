"""Jobs as their team sees them, with what they refer to and what they left behind."""

from dataclasses import dataclass
from datetime import UTC, datetime

from models.db.store.scope import Page
from models.db.store.team import TeamStore
from models.db.tables import Adapter, Checkpoint, Job, JobEvent, Merge, Metric
from models.domain.access import Principal
from models.domain.errors import NotFound
from models.domain.job import JobKind, JobState
from models.domain.run import AnswerSeen
from webapp.deps import Deps

Event = JobEvent
SERIES = (
    "train_loss", "eval_loss", "grad_norm", "learning_rate", "trained_tokens", "tokens", "step_seconds",
    "peak_memory_bytes", "chosen_logp", "rejected_logp", "margin", "accuracy", "kl", "eval_chosen_logp",
    "eval_rejected_logp", "eval_margin", "eval_accuracy", "eval_kl",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JobSeen:
    """A job with its neighbours. `is_validating`: it waits, and so does the check of its training file."""

    job: Job
    base_name: str | None
    adapter: Adapter | None
    merge: Merge | None
    is_validating: bool
    seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class CheckpointSeen:
    """`model_name` is what the adapter of this job is or will be called; losses are per trained token."""

    checkpoint: Checkpoint
    model_name: str
    train_loss: float | None
    eval_loss: float | None


def list_jobs(
    deps: Deps,
    principal: Principal,
    *,
    limit: int,
    after: str | None = None,
    kinds: tuple[JobKind, ...] = (),
    states: tuple[JobState, ...] = (),
    meta: dict[str, str] | None = None,
    without_meta: bool = False,
) -> Page[JobSeen]:
    """Newest first."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        page = store.jobs(limit=limit, after=after, kinds=kinds, states=states, meta=meta, without_meta=without_meta)
        names = {base.id: base.name for base in store.bases()}
        return Page([see(store, job, names) for job in page.items], page.has_more)


def show_job(deps: Deps, principal: Principal, job_id: str, kinds: tuple[JobKind, ...] = ()) -> JobSeen:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        return see(store, store.job(job_id, kinds=kinds))


def job_events(
    deps: Deps, principal: Principal, job_id: str, *, limit: int, after: int | None, kinds: tuple[JobKind, ...] = ()
) -> Page[JobEvent]:
    """Newest first."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        store.job(job_id, kinds=kinds)
        return store.events(job_id, limit=limit, after=after)


def job_samples(deps: Deps, principal: Principal, job_id: str, *, limit: int, after: int | None) -> Page[AnswerSeen]:
    """What the model said to held-out questions while it trained, newest first."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        store.job(job_id)
        found = store.samples(job_id, limit=limit + 1, after=after)
        return Page(found[:limit], len(found) > limit)


def job_log(deps: Deps, principal: Principal, job_id: str) -> str | None:
    """The end of its log; None while its process has printed nothing."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        store.job(job_id)
        return store.log_tail(job_id)


def job_metrics(deps: Deps, principal: Principal, job_id: str, series: tuple[str, ...]) -> dict[str, list[Metric]]:
    """The points of each series by step."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        return {name: store.metrics(job_id, name) for name in series}


def job_checkpoints(
    deps: Deps, principal: Principal, job_id: str, *, limit: int, before_step: int | None
) -> Page[CheckpointSeen]:
    """Newest first, training jobs only."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        job = store.job(job_id, kinds=(JobKind.TRAIN,))
        page = store.checkpoints(job_id, limit=limit, before_step=before_step)
        seen = see(store, job)
        name = seen.adapter.name if seen.adapter else f"{seen.base_name}:{job.id}"
        train = {point.step: point.value for point in store.metrics(job_id, "train_loss")}
        held_out = {point.step: point.value for point in store.metrics(job_id, "eval_loss")}
        items = [
            CheckpointSeen(
                checkpoint=row,
                model_name=f"{name}:ckpt-step-{row.step}",
                train_loss=train.get(row.step),
                eval_loss=held_out.get(row.step),
            )
            for row in page.items
        ]
        return Page(items, page.has_more)


def see(store: TeamStore, job: Job, base_names: dict[str, str] | None = None) -> JobSeen:
    """Look up what a job refers to. An artefact exists only once its job has ended."""
    names = base_names if base_names is not None else {base.id: base.name for base in store.bases()}
    has_ended = job.state in (JobState.SUCCEEDED, JobState.CANCELLED)
    return JobSeen(
        job=job,
        base_name=names.get(job.spec.get("base", "")),
        adapter=store.adapter_of_job(job.id) if has_ended and job.kind == JobKind.TRAIN else None,
        merge=store.merge_of_job(job.id) if has_ended and job.kind == JobKind.MERGE else None,
        is_validating=job.kind == JobKind.TRAIN and job.state == JobState.QUEUED and _is_unchecked(store, job),
        seen_at=datetime.now(UTC),
    )


def _is_unchecked(store: TeamStore, job: Job) -> bool:
    try:
        return store.file(job.spec["data"]["training_file"]).status == "uploaded"
    except NotFound:
        return False  # deleted since
