"""One attempt at one job: stage -> spawn -> watch -> settle or release. Loads no torch; the child does the work.

The lease beats beside all of it. Whatever is written carries the fence, so an attempt that lost its lease changes
nothing. Errors end here: this is the door where they become a job's state.
"""

import errno
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import structlog

from models.db.engine import Database
from models.db.store.artefacts import Overtaken
from models.db.tables import Job
from models.domain.base_model import AddBaseSpec
from models.domain.data_jobs import FetchDataSpec
from models.domain.errors import AppError, Code, JobFailed, LeaseLost, from_json
from models.domain.job import CancelWish, HeldReason, JobKind, JobState, Lane, Phase
from models.domain.progress import PhaseBegan, Remarked
from models.infra.host import memory_limit_bytes
from models.infra.settings import Settings
from models.infra.storage import Storage
from worker.cache import Cache
from worker.fetching import forget_dataset
from worker.jobdir import JobDir, Order, Outcome, newest_valid_checkpoint
from worker.lease import Lease
from worker.packed import forget_packed, keep_packed
from worker.settling import Made, refused_file, scope_of, store_result
from worker.sources import forget_download
from worker.spawn import Child, cores, spawn
from worker.staging import Shelf, stage, stage_checkpoint
from worker.standby import Standby
from worker.uploads import Uploads

LOOK_EVERY_SECONDS = 0.05
MEMORY_EVERY_SECONDS = 1.0
TEARDOWN_SECONDS = 30.0  # an outcome is written and the process still runs: GPU teardown can hang (unsloth#7938)
EXIT_ORPHANED = 70  # the child's own verdict: no heartbeat came

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What every attempt of one worker works with. `drain` is set when the worker has to end."""

    settings: Settings
    database: Database
    storage: Storage
    cache: Cache
    device: str
    drain: threading.Event
    standby: Standby | None = None


class Why(StrEnum):
    """Why a child ended, as far as we had a part in it."""

    BY_ITSELF = "by_itself"
    CANCELLED = "cancelled"
    DRAINED = "drained"
    OUT_OF_MEMORY = "out_of_memory"
    NO_PROGRESS = "no_progress"


@dataclass(frozen=True, kw_only=True)
class Ending:
    why: Why
    exit_code: int
    outcome: Outcome | None


class _Interrupted(Exception):
    """A cancel or a drain came before the child was started."""


def supervise(desk: Desk, job: Job, claimed_at: float) -> None:
    """Carry one claimed job to its end, or give it back. `claimed_at`: time.monotonic() before the claim.

    Returns in every case; what happened stands in the job's row and events.
    """
    jobdir = JobDir(desk.settings.jobs_dir / job.id / str(job.fence))
    began = time.monotonic()
    with Lease(desk.database, desk.settings, job, jobdir, claimed_at) as lease:
        attempt = _Attempt(desk, job, jobdir, lease)
        try:
            state = attempt.run()
        except LeaseLost as error:
            state = None
            log.warning("lease lost", job=job.id, fence=job.fence, why=error.message)
    if desk.standby is not None and not desk.drain.is_set():
        desk.standby.prepare()
    if state is JobState.SUCCEEDED:
        keep_packed(desk.cache, scope_of(job), jobdir)
    _tidy(desk.settings, job, jobdir, state)
    seconds = round(time.monotonic() - began, 2)
    log.info("attempt ended", job=job.id, kind=job.kind, fence=job.fence, state=state, seconds=seconds)


class _Attempt:
    """The story, and what its steps share."""

    def __init__(self, desk: Desk, job: Job, jobdir: JobDir, lease: Lease) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._job = job
        self._jobdir = jobdir
        self._lease = lease

    def run(self) -> JobState:
        """The state the job is left in. Raises LeaseLost alone."""
        try:
            order = self._stage()
            ending = self._work(order)
            if _may_do_with_less(order, ending):
                ending = self._work(self._with_smaller_passes())
            return self._settle(ending)
        except _Interrupted:
            return self._give_back("the worker is being restarted")
        except LeaseLost:
            raise
        except Overtaken:
            return self._give_back("another version of the dataset came first")
        except AppError as error:
            return self._fail(error)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                return self._give_back("the disk of this worker is full", HeldReason.DISK)
            log.exception("attempt broken", job=self._job.id, fence=self._job.fence)
            return self._count_loss("something unexpected happened in its worker", Code.INTERNAL)

    # staging

    def _stage(self) -> Order:
        self._jobdir.root.mkdir(parents=True, exist_ok=True)
        self._jobdir.say(PhaseBegan(phase=Phase.STAGING))
        desk, settings = self._desk, self._settings
        shelf = Shelf(
            settings=settings, storage=desk.storage, cache=desk.cache, lease=self._lease, watch=self._watch_staging
        )
        facts = stage(shelf, self._job, self._jobdir)
        found = stage_checkpoint(shelf, self._job, self._jobdir)
        threads = settings.threads or max(1, cores() // self._slow_slots)
        if found is not None and isinstance(recorded := found[1].facts.get("threads"), int):
            threads = recorded  # sums in another order would make another loss curve (promise P4)
        order = Order(
            job=self._job.id, fence=self._job.fence, kind=JobKind(self._job.kind), payload=self._job.spec, facts=facts,
            resume_from=found[0] if found else None, threads=threads, device=desk.device,
            compute_dtype=settings.compute_dtype, silence_seconds=settings.child_silence_seconds,
            memory_limit_bytes=settings.memory_limit_bytes or memory_limit_bytes() // settings.slots,
            device_memory_bytes=settings.device_memory_bytes,
        )  # fmt: skip
        self._jobdir.lay_out(order)
        self._watch_staging()
        return order

    @property
    def _slow_slots(self) -> int:
        """How many jobs may want all cores at once: in the lane light one slot is kept for quick ones."""
        return max(1, self._settings.slots - (self._job.lane == Lane.LIGHT))

    def _watch_staging(self) -> None:
        self._check_lease()
        if self._lease.wish is not None or self._desk.drain.is_set():
            raise _Interrupted

    # the child's life

    def _work(self, order: Order) -> Ending:
        child = self._child(order)
        log.info("child started", job=order.job, fence=order.fence, pid=child.pid, resume_from=order.resume_from)
        self._lease.hear()
        self._lease.feed = child.feed
        uploads = Uploads(self._lease, self._desk.storage, scope_of(self._job), self._job, self._jobdir)
        try:
            why = self._watch(child, order)
            exit_code = child.reap()
            self._lease.beat()  # the last checkpoint is passed on to be uploaded
            uploads.finish()
        finally:
            child.reap()
            self._lease.feed = None
            uploads.end()
        return Ending(why=why, exit_code=exit_code, outcome=self._jobdir.outcome())

    def _with_smaller_passes(self) -> Order:
        """The same claim once more, from the last checkpoint in a new process: half as much at once, twice as often."""
        self._watch_staging()
        found = newest_valid_checkpoint(self._jobdir.checkpoints)
        order = self._jobdir.begin_again(f"checkpoints/{found[0].name}" if found else None)
        where = f"the checkpoint at step {found[1].step}" if found else "the beginning"
        self._jobdir.say(
            Remarked(
                level="warn",
                text=f"ran out of memory; going on once from {where} in a new process, with half as many rows per "
                "forward pass and twice as many passes per step. What is learnt stays the same.",
            )
        )
        return order

    def _child(self, order: Order) -> Child:
        standby = self._desk.standby
        taken = standby.take(self._jobdir, order.kind, order.threads) if standby is not None else None
        return taken or spawn(self._jobdir, order.threads)

    def _watch(self, child: Child, order: Order) -> Why:
        """Until the child has ended. Asks it to end when it must, and ends it when it does not."""
        why, kill_at, ended_at = Why.BY_ITSELF, None, None
        memory_at = time.monotonic()
        while not child.has_ended:
            self._check_lease()
            now = time.monotonic()
            if kill_at is None and (asked := self._asked()) is not None:
                why, grace = asked
                self._jobdir.ask_to_stop(self._lease.wish)
                child.ask_to_end()
                kill_at = now + grace
            if now >= memory_at:
                memory_at = now + MEMORY_EVERY_SECONDS
                if child.resident_bytes() > (order.memory_limit_bytes or 0):
                    why, kill_at = Why.OUT_OF_MEMORY, now
            if kill_at is None and self._lease.silent_seconds > self._settings.no_progress_seconds:
                why, kill_at = Why.NO_PROGRESS, now
            if ended_at is None and self._jobdir.outcome() is not None:
                ended_at = now
            if (kill_at is not None and now >= kill_at) or (ended_at is not None and now > ended_at + TEARDOWN_SECONDS):
                child.kill()
            time.sleep(LOOK_EVERY_SECONDS)
        return why

    def _asked(self) -> tuple[Why, float] | None:
        """A wish to end, and how long the child may take to do it."""
        if self._lease.wish is not None:
            return Why.CANCELLED, self._settings.cancel_grace_seconds
        if self._desk.drain.is_set():
            return Why.DRAINED, self._settings.drain_seconds
        return None

    def _check_lease(self) -> None:
        self._lease.check()
        if self._lease.fault is not None:
            raise self._lease.fault

    # the end

    def _settle(self, ending: Ending) -> JobState:
        wish, outcome = self._lease.wish, ending.outcome
        if wish is not None:
            return self._settle_cancelled(wish, outcome)
        if outcome is None:
            return self._settle_without_outcome(ending)
        match outcome.status:
            case "succeeded":
                return self._finish(JobState.SUCCEEDED, outcome, self._store(outcome))
            case "failed":
                assert outcome.error is not None
                return self._fail(from_json(outcome.error))
            case "stopped":
                return self._give_back("the worker is being restarted; a checkpoint was saved")
            case status:
                assert_never(status)

    def _settle_cancelled(self, wish: CancelWish, outcome: Outcome | None) -> JobState:
        """KEEP makes an adapter of what is there; a job that was done before the wish reached it is done."""
        keeps = wish is CancelWish.KEEP and outcome is not None and outcome.status != "failed"
        if not keeps or outcome is None or not any(self._jobdir.out.iterdir()):
            return self._finish(JobState.CANCELLED, None, Made(artefact=None))
        if outcome.status == "succeeded":
            return self._finish(JobState.SUCCEEDED, outcome, self._store(outcome))
        return self._finish(JobState.CANCELLED, outcome, self._store(outcome, is_partial=True))

    def _settle_without_outcome(self, ending: Ending) -> JobState:
        match ending.why:
            case Why.OUT_OF_MEMORY:
                return self._fail(_out_of_memory(self._jobdir.order()))
            case Why.NO_PROGRESS:
                seconds = self._settings.no_progress_seconds
                return self._count_loss(f"nothing was heard of it for {seconds:.0f} s", Code.NO_PROGRESS)
            case Why.DRAINED:
                return self._give_back("the worker is being restarted; there was no time for a checkpoint")
            case Why.BY_ITSELF | Why.CANCELLED if ending.exit_code == EXIT_ORPHANED:
                return self._give_back("the database was away for too long")
            case Why.BY_ITSELF | Why.CANCELLED:
                return self._count_loss(f"its process ended without a result ({_in_words(ending.exit_code)})")
            case why:
                assert_never(why)

    def _store(self, outcome: Outcome, *, is_partial: bool = False) -> Made:
        self._jobdir.say(PhaseBegan(phase=Phase.UPLOADING))
        return store_result(self._desk.storage, self._job, self._jobdir, outcome, is_partial=is_partial)

    def _finish(self, state: JobState, outcome: Outcome | None, made: Made) -> JobState:
        """ONE transaction: what was said, the artefact's row and the state."""
        result = outcome.result if outcome else None
        self._lease.write_last(
            lambda store: store.settle(
                self._job.id, self._job.fence, state, result=result, artefact=made.artefact, blobs=made.blobs
            )
        )
        return state

    def _fail(self, error: AppError) -> JobState:
        if error.code == Code.ADAPTER_REFUSED:
            forget_packed(self._desk.cache, scope_of(self._job), self._jobdir)
        if error.code == Code.DISK_FULL:
            return self._give_back(error.message, HeldReason.DISK, error.facts.get("needed_bytes"))
        made = refused_file(self._desk.storage, self._job, self._jobdir, error)
        self._lease.write_last(
            lambda store: store.settle(
                self._job.id, self._job.fence, JobState.FAILED, error=error, artefact=made.artefact, blobs=made.blobs
            )
        )
        return JobState.FAILED

    def _give_back(self, reason: str, held: HeldReason | None = None, needed_bytes: int | None = None) -> JobState:
        return self._lease.write_last(
            lambda store: store.release(
                self._job.id, self._job.fence, reason=reason, held=held, needed_bytes=needed_bytes
            )
        )

    def _count_loss(self, reason: str, code: Code = Code.CHILD_DIED) -> JobState:
        most = self._settings.max_attempts
        return self._lease.write_last(
            lambda store: store.child_lost(self._job.id, self._job.fence, most, reason=reason, code=code)
        )


def _tidy(settings: Settings, job: Job, jobdir: JobDir, state: JobState | None) -> None:
    """Keep the log, the events and the outcome. Checkpoints stay on disk while the job may go on from them."""
    for path in (jobdir.inputs, jobdir.out, jobdir.packed, jobdir.root / "tmp"):
        shutil.rmtree(path, ignore_errors=True)
    if state is not None and state.is_terminal:
        for checkpoints in jobdir.root.parent.glob("*/checkpoints"):
            shutil.rmtree(checkpoints, ignore_errors=True)
        if JobKind(job.kind) is JobKind.ADD_BASE and state is JobState.SUCCEEDED:
            forget_download(AddBaseSpec.model_validate(job.spec), settings)
        if JobKind(job.kind) is JobKind.FETCH_DATA and state is JobState.SUCCEEDED:
            forget_dataset(FetchDataSpec.model_validate(job.spec), settings)


def _may_do_with_less(order: Order, ending: Ending) -> bool:
    """A training out of memory, for the first time in this claim, that nobody has asked to end."""
    if order.kind is not JobKind.TRAIN or order.halvings:
        return False
    error = ending.outcome.error if ending.outcome is not None else None
    was_killed = ending.outcome is None and ending.why is Why.OUT_OF_MEMORY
    return was_killed or (error is not None and error.get("code") == Code.OUT_OF_MEMORY)


def _out_of_memory(order: Order) -> JobFailed:
    tried = ", and once more with half as many rows per forward pass" if order.halvings else ""
    limit = f" of {order.memory_limit_bytes / 10**9:.1f} GB" if order.memory_limit_bytes else ""
    return JobFailed(
        f"the job used more memory than the limit{limit} of this worker and was stopped{tried}. Use fewer rows per "
        "forward pass, a shorter max_length or a smaller base, then start it again.",
        code=Code.OUT_OF_MEMORY,
    )


def _in_words(exit_code: int) -> str:
    return f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
