"""The queue: claim, beat, record, settle, release, sweep. The database is the record, Redis only a doorbell.

`fence` is the only write token: every write of an attempt says `WHERE fence = mine`, so a stale owner changes
nothing (promise P2). Times are the database's.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, Update, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.db.store.artefacts import Artefact, insert_artefact
from models.db.store.garbage import remember
from models.db.tables import Blob, Checkpoint, Job, JobEvent, Lease, Metric, Worker, db_now
from models.domain.errors import AppError, Code, JobFailed, LeaseLost
from models.domain.job import CancelWish, HeldReason, JobState, Lane, Phase, check_move
from models.domain.progress import (
    CheckpointSaved,
    Evaluated,
    PhaseBegan,
    PreferenceFigures,
    Progressed,
    Remarked,
    Said,
    Sampled,
    StepDone,
)

MOST_REMARKS = 1000  # of one job, as events
MOST_SAMPLES = 1000  # the same; a training spreads its own evenly and stays below


class QueueStore:
    """The part of SystemStore that moves jobs."""

    session: Session

    def claim(self, lane: Lane, worker: str, lease_seconds: float, least_priority: int | None = None) -> Job | None:
        """Take the next job by policy: highest priority, then oldest. None when nothing is claimable.

        `least_priority` leaves the ones below it to others.
        """
        urgent = () if least_priority is None else (Job.priority >= least_priority,)
        while True:
            job_id = self.session.scalar(
                select(Job.id)
                .where(*_claimable(lane), *urgent)
                .order_by(Job.priority.desc(), Job.created_at, Job.id)
                .limit(1)
                .with_for_update(skip_locked=True)  # ignored by SQLite, where BEGIN IMMEDIATE already serialises
            )
            if job_id is None:
                return None
            won = self._move(
                update(Job)
                .where(Job.id == job_id, *_claimable(lane))
                .values(
                    state=JobState.RUNNING,
                    fence=Job.fence + 1,
                    owner=worker,
                    lease_until=db_now(lease_seconds),
                    started_at=func.coalesce(Job.started_at, db_now()),
                    phase=None,
                )
            )
            if won:
                job = self.session.get_one(Job, job_id, populate_existing=True)
                self._moved(job.id, job.fence, JobState.QUEUED, JobState.RUNNING, worker=worker, attempts=job.attempts)
                return job

    def beat(self, job_id: str, fence: int, lease_seconds: float) -> CancelWish | None:
        """Extend the lease and learn whether a cancel is wished. Raises LeaseLost when another attempt owns it."""
        row = self.session.execute(
            update(Job)
            .where(*_mine(job_id, fence))
            .values(lease_until=db_now(lease_seconds))
            .returning(Job.cancel_requested_at, Job.cancel_wish)
        ).one_or_none()
        if row is None:
            raise _lost(job_id, fence)
        return CancelWish(row.cancel_wish or CancelWish.DISCARD) if row.cancel_requested_at else None

    def record(self, job_id: str, fence: int, said: Sequence[Said], *, log_tail: str | None = None) -> None:
        """Turn what a child said into rows. Call it in the transaction of a successful `beat`.

        `log_tail` takes the place of the end of the log that is kept; None: it has not changed.
        """
        changes: dict[str, Any] = {} if log_tail is None else {"log_tail": log_tail}
        points: dict[tuple[str, int], dict[str, Any]] = {}
        for item in said:
            match item:
                case PhaseBegan(phase=phase):
                    changes["phase"] = phase
                    self._phase_began(job_id, fence, phase, item.at)
                case Progressed(done=done, total=total, unit=unit):
                    changes |= {"done": done, "total": total, "unit": unit}
                case StepDone():
                    changes |= {"done": item.step, "total": item.total_steps, "unit": "steps"}
                    for series, value in _series_of(item):
                        points[series, item.step] = _point(job_id, fence, series, item.step, value, item)
                case Evaluated():
                    for series, value in (("eval_loss", item.loss_per_token), *_preferred(item.preference, "eval_")):
                        points[series, item.step] = _point(job_id, fence, series, item.step, value, item)
                case Sampled():
                    self._sample(job_id, fence, item)
                case CheckpointSaved():
                    pass  # `checkpoint_saved` writes its row once it is uploaded
                case Remarked(level=level, text=text):
                    self._remark(job_id, fence, text, level=level, at=item.at)
        if points:
            self._upsert_points(list(points.values()))
        if changes:
            self._fenced(update(Job).where(*_mine(job_id, fence)).values(**changes), job_id, fence)

    def checkpoint_saved(
        self, job_id: str, fence: int, *, step: int, scope: str, tree_sha256: str, size: int, blobs: Sequence[Blob] = ()
    ) -> None:
        """A checkpoint is in storage: another worker may resume from it."""
        self._fenced(update(Job).where(*_mine(job_id, fence)).values(phase=Job.phase), job_id, fence)
        self.save_blobs(blobs)
        self.session.merge(
            Checkpoint(job_id=job_id, step=step, fence=fence, scope=scope, tree_sha256=tree_sha256, size=size)
        )
        self._event(job_id, fence, "checkpoint", f"checkpoint at step {step} saved", data={"step": step})

    def settle(
        self,
        job_id: str,
        fence: int,
        to: JobState,
        *,
        result: dict[str, Any] | None = None,
        error: AppError | None = None,
        artefact: Artefact | None = None,
        blobs: Sequence[Blob] = (),
    ) -> None:
        """End the job with what it made, in one transaction. Raises LeaseLost; then nothing was written."""
        check_move(JobState.RUNNING, to)
        if not to.is_terminal:
            raise AppError(f"settle ends a job; {to} is not an end. Use release.")
        values: dict[str, Any] = {
            "state": to, "finished_at": db_now(), "lease_until": None, "phase": None, "result": result,
            "error": error.to_json() if error else None,
        }  # fmt: skip
        if result and "trained_tokens" in result:
            values["trained_tokens"] = result["trained_tokens"]
        self._fenced(update(Job).where(*_mine(job_id, fence)).values(**values), job_id, fence)
        self.save_blobs(blobs)
        if artefact is not None:
            insert_artefact(self.session, job_id, artefact)
        level = "error" if to is JobState.FAILED else "info"
        self._moved(job_id, fence, JobState.RUNNING, to, level=level, reason=error.message if error else None)

    def release(
        self,
        job_id: str,
        fence: int,
        *,
        reason: str,
        held: HeldReason | None = None,
        needed_bytes: int | None = None,
    ) -> JobState:
        """Give the job back, attempts unchanged; a job whose cancel was wished ends as cancelled instead.

        `needed_bytes`: of disk, where that is known and is why it is held.
        """
        wished = self.session.scalar(select(Job.cancel_requested_at).where(Job.id == job_id))
        if wished is not None:
            self.settle(job_id, fence, JobState.CANCELLED)
            return JobState.CANCELLED
        values = {"state": JobState.QUEUED, "lease_until": None, "owner": None, "phase": None, "held_reason": held}
        self._fenced(update(Job).where(*_mine(job_id, fence)).values(**values), job_id, fence)
        self._moved(job_id, fence, JobState.RUNNING, JobState.QUEUED, reason=reason, needed_bytes=needed_bytes)
        return JobState.QUEUED

    def child_lost(
        self, job_id: str, fence: int, max_attempts: int, *, reason: str, code: Code = Code.CHILD_DIED
    ) -> JobState:
        """The job's process ended without a result while its worker lives: the attempt counts, as in `sweep`."""
        row = self.session.execute(select(Job.attempts, Job.cancel_requested_at).where(Job.id == job_id)).one()
        attempts = row.attempts + 1
        to, error = _after_loss(attempts, max_attempts, was_cancelled=row.cancel_requested_at is not None, code=code)
        values: dict[str, Any] = {"state": to, "attempts": attempts, "lease_until": None, "owner": None, "phase": None}
        if to.is_terminal:
            values |= {"finished_at": db_now(), "error": error.to_json() if error else None}
        self._fenced(update(Job).where(*_mine(job_id, fence)).values(**values), job_id, fence)
        level = "error" if to is JobState.FAILED else "warn"
        counted = f"{reason} (attempt {attempts} of {max_attempts})"
        self._moved(job_id, fence, JobState.RUNNING, to, level=level, reason=counted)
        return to

    def let_go_on(
        self, held: HeldReason, may_go: Callable[[int | None], bool] = lambda _needed_bytes: True
    ) -> list[str]:
        """Jobs held for this reason may be claimed again; returns their ids. `may_go` is asked with what each needs."""
        waiting = self.session.scalars(select(Job.id).where(Job.held_reason == held, Job.state == JobState.QUEUED))
        going = [job_id for job_id in waiting.all() if may_go(self._needed_bytes(job_id))]
        freed = self.session.execute(
            update(Job)
            .where(Job.id.in_(going), Job.held_reason == held, Job.state == JobState.QUEUED)
            .values(held_reason=None)
            .returning(Job.id, Job.fence)
            .execution_options(synchronize_session=False)
        ).all()
        for job_id, fence in freed:
            self._event(job_id, fence, "message", f"no longer held ({held}): it goes on when a worker is free")
        return [job_id for job_id, _ in freed]

    def are_held(self, held: HeldReason) -> bool:
        """Does any job wait for this reason?"""
        waiting = select(Job.id).where(Job.held_reason == held, Job.state == JobState.QUEUED)
        return self.session.scalar(waiting.limit(1)) is not None

    def _needed_bytes(self, job_id: str) -> int | None:
        """What the job's last move said that it needs of a disk."""
        moves = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == "moved")
        return (self.session.scalar(moves.order_by(JobEvent.id.desc()).limit(1)) or {}).get("needed_bytes")

    def sweep(self, max_attempts: int) -> list[tuple[str, JobState]]:
        """Take back every job whose lease lapsed. Idempotent; any live process may run it."""
        lapsed = self.session.execute(
            select(Job.id, Job.fence, Job.attempts, Job.cancel_requested_at).where(
                Job.state == JobState.RUNNING, Job.lease_until < db_now()
            )
        ).all()
        moved: list[tuple[str, JobState]] = []
        for job_id, fence, attempts, cancelled_at in lapsed:
            to, error = _after_loss(attempts + 1, max_attempts, was_cancelled=cancelled_at is not None)
            values: dict[str, Any] = {"state": to, "attempts": attempts + 1, "lease_until": None, "phase": None}
            if to.is_terminal:
                values |= {"finished_at": db_now(), "error": error.to_json() if error else None}
            taken = self._move(update(Job).where(*_mine(job_id, fence), Job.lease_until < db_now()).values(**values))
            if taken:
                level = "error" if to is JobState.FAILED else "warn"
                reason = f"its worker was lost (attempt {attempts + 1} of {max_attempts})"
                self._moved(job_id, fence, JobState.RUNNING, to, level=level, reason=reason)
                moved.append((job_id, to))
        return moved

    def claimable(self, lane: Lane) -> int:
        """How many jobs `claim` could take now."""
        return self.session.scalar(select(func.count()).select_from(Job).where(*_claimable(lane))) or 0

    def live_slots(self, lane: Lane, silence_seconds: float) -> int:
        """Slots of the workers of `lane` seen within `silence_seconds`."""
        return int(
            self.session.scalar(
                select(func.coalesce(func.sum(Worker.slots), 0)).where(
                    Worker.lane == lane, Worker.stopped_at.is_(None), Worker.seen_at > db_now(-silence_seconds)
                )
            )
            or 0
        )

    def worker_started(self, worker: Worker) -> None:
        self.session.add(worker)

    def worker_seen(self, worker_id: str) -> None:
        self.session.execute(update(Worker).where(Worker.id == worker_id).values(seen_at=db_now()))

    def worker_stopped(self, worker_id: str) -> None:
        self.session.execute(update(Worker).where(Worker.id == worker_id).values(stopped_at=db_now()))

    def workers(self, silence_seconds: float) -> list[Worker]:
        """Workers seen lately, for `doctor`, `/readyz` and pages."""
        alive = (Worker.stopped_at.is_(None), Worker.seen_at > db_now(-silence_seconds))
        return list(self.session.scalars(select(Worker).where(*alive).order_by(Worker.lane)))

    def take_lease(self, name: str, owner: str, seconds: float) -> bool:
        """True if `owner` now holds `name`: free, lapsed or already its own."""
        table = sqlite if self.session.get_bind().dialect.name == "sqlite" else postgresql
        statement = table.insert(Lease).values(name=name, owner=owner, until=db_now(seconds))
        statement = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"owner": owner, "until": db_now(seconds)},
            where=(Lease.owner == owner) | (Lease.until < db_now()),
        )
        return self.session.scalar(statement.returning(Lease.name)) is not None

    def save_blobs(self, blobs: Iterable[Blob]) -> None:
        """Remember stored bytes; known ones are renewed, also those that another process adds at this moment."""
        remember(self.session, blobs)

    def _move(self, statement: Update) -> bool:
        return _rows(self.session.execute(statement.execution_options(synchronize_session=False))) == 1

    def _fenced(self, statement: Update, job_id: str, fence: int) -> None:
        if not self._move(statement):
            raise _lost(job_id, fence)

    def _moved(
        self, job_id: str, fence: int, before: JobState, after: JobState, *, level: str = "info", **data: Any
    ) -> None:
        reason = data.get("reason")
        message = f"{before} -> {after}" + (f": {reason}" if reason else "")
        kept = {key: value for key, value in data.items() if value is not None}
        self._event(job_id, fence, "moved", message, level=level, data=kept | {"before": before, "after": after})

    def _phase_began(self, job_id: str, fence: int, phase: Phase, at: datetime) -> None:
        """An event at the first time only: a training goes to and fro between steps, evaluations and saves."""
        message = f"{phase} began"
        known = (JobEvent.job_id == job_id, JobEvent.fence == fence, JobEvent.message == message)
        if self.session.scalar(select(JobEvent.id).where(*known).limit(1)) is None:
            self._event(job_id, fence, "phase", message, at=at)

    def _remark(self, job_id: str, fence: int, text: str, **columns: Any) -> None:
        """A job that never stops talking fills its log, and not the database."""
        known = (JobEvent.job_id == job_id, JobEvent.type == "message")
        said = self.session.scalar(select(func.count()).select_from(JobEvent).where(*known)) or 0
        if said < MOST_REMARKS:
            self._event(job_id, fence, "message", text, **columns)
        elif said == MOST_REMARKS:
            self._event(job_id, fence, "message", "what it says from here on is only in its log", **columns)

    def _sample(self, job_id: str, fence: int, said: Sampled) -> None:
        """A step that an interrupted attempt took already is answered anew, and its sample replaced."""
        message = f"question {said.question + 1} at step {said.step}"
        known = (JobEvent.job_id == job_id, JobEvent.type == "sample")
        self.session.execute(delete(JobEvent).where(*known, JobEvent.message == message))
        taken = self.session.scalar(select(func.count()).select_from(JobEvent).where(*known)) or 0
        if taken < MOST_SAMPLES:
            data = said.model_dump(include={"step", "question", "prompt", "answer", "reference", "is_cut"})
            self._event(job_id, fence, "sample", message, at=said.at, data=data)

    def _event(self, job_id: str, fence: int, type_: str, message: str, **columns: Any) -> None:
        self.session.execute(
            insert(JobEvent).values(job_id=job_id, fence=fence, type=type_, message=message, **columns)
        )

    def _upsert_points(self, points: list[dict[str, Any]]) -> None:
        table = sqlite if self.session.get_bind().dialect.name == "sqlite" else postgresql
        statement = table.insert(Metric)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=["job_id", "series", "step"],
            set_={"value": new.value, "fence": new.fence, "at": new.at},
        )
        self.session.execute(statement, points)


def _claimable(lane: Lane) -> tuple[Any, ...]:
    return (
        Job.lane == lane, Job.state == JobState.QUEUED, Job.held_reason.is_(None), Job.deleted_at.is_(None),
    )  # fmt: skip


def _mine(job_id: str, fence: int) -> tuple[Any, ...]:
    return (Job.id == job_id, Job.fence == fence, Job.state == JobState.RUNNING)


def _rows(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount


def _lost(job_id: str, fence: int) -> LeaseLost:
    return LeaseLost(f"attempt {fence} of {job_id} no longer owns the job; nothing of it was written.", fence=fence)


def _after_loss(
    attempts: int, max_attempts: int, *, was_cancelled: bool, code: Code = Code.WORKER_LOST
) -> tuple[JobState, AppError | None]:
    if was_cancelled:
        return JobState.CANCELLED, None
    if attempts >= max_attempts:
        what = {
            Code.CHILD_DIED: "The process of this job died",
            Code.NO_PROGRESS: "This job stood still and was stopped",
            Code.INTERNAL: "Something unexpected stopped this job",
        }.get(code, "The worker running this job was lost")
        message = (
            f"{what} {attempts} times, most likely because the job itself ends it "
            "(memory, driver). Look at the end of its log, lower the batch or the length, and start it again."
        )
        return JobState.FAILED, JobFailed(message, code=code, attempts=attempts)
    return JobState.QUEUED, None


def _series_of(step: StepDone) -> list[tuple[str, float]]:
    counted = (("tokens", step.tokens), ("peak_memory_bytes", step.peak_memory_bytes))
    return [
        ("train_loss", step.loss_per_token), ("grad_norm", step.grad_norm), ("learning_rate", step.learning_rate),
        ("trained_tokens", float(step.trained_tokens)), ("step_seconds", step.step_seconds),
        *((series, float(count)) for series, count in counted if count is not None),
        *_preferred(step.preference),
    ]  # fmt: skip


def _preferred(found: PreferenceFigures | None, prefix: str = "") -> list[tuple[str, float]]:
    """A preference objective's own figures, where there were rows for them."""
    if found is None:
        return []
    named = {"chosen_logp": found.chosen, "rejected_logp": found.rejected, "margin": found.margin,
             "accuracy": found.accuracy, "kl": found.kl}  # fmt: skip
    return [(f"{prefix}{name}", value) for name, value in named.items() if value is not None]


def _point(job_id: str, fence: int, series: str, step: int, value: float, said: StepDone | Evaluated) -> dict[str, Any]:
    return {"job_id": job_id, "fence": fence, "series": series, "step": step, "value": value, "at": said.at}
