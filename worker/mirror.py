"""Tells the trackers of teams what is stored of their runs. Reads rows, writes how far it got; moves no job.

Trainings know nothing of it: it runs in the worker of the lane `light`, one mirror of an installation at a time by a
lease, each run and tracker in a process of its own. What a tracker has not taken stays in the database and is told
later, so a restart on either side loses nothing.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from models.catalog.trackers import TRACKERS
from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.store.tracking import Untold
from models.db.tables import Job, TrackedRun, Tracker
from models.domain.addresses import hosts_named
from models.domain.errors import AppError, Unavailable
from models.domain.ids import new_id
from models.domain.job import JobState
from models.domain.tracking import LONGEST_PROBLEM, RunEnd, RunFacts, end_state, flat
from models.infra.secrets import load_key, open_sealed
from models.infra.settings import Settings
from worker.sender import Sender, TrackerProblem
from worker.trackers.base import Opening

LEASE_NAME = "mirror"
AT_ONCE = 8  # runs told at the same time
AT_ONCE_EACH = 2  # of them to one tracker, so that one that hangs does not hold up other teams'
KEPT_OPEN = 8  # processes of runs that go on
LONGEST_PAUSE = 600.0  # seconds, of a tracker that fails again and again
GIVES_UP_AFTER = timedelta(days=7)  # from the run's end

Key = tuple[str, str]  # a tracker's id and a job's; no job: a connection is tried

log = structlog.get_logger()


class Mirror:
    """A thread that looks each `tracker_seconds` for what trackers do not have yet."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._owner = new_id("mirror")
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._busy: dict[Key, Future[None]] = {}
        self._senders: dict[Key, Sender] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tracker")
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def start(self) -> "Mirror":
        self._thread.start()
        return self

    def stop(self) -> None:
        """At once: a process that is killed between two answers loses nothing."""
        self._over.set()
        with self._turn:
            for sender in self._senders.values():
                sender.end()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def round(self) -> list[Future[None]]:
        """Begin to tell whatever is due; what is begun, to wait for. Empty while another process holds the lease."""
        with self._database.write() as session:
            store = SystemStore(session)
            if not store.take_lease(LEASE_NAME, self._owner, 3 * self._settings.tracker_seconds + 5):
                self._let_go()
                return []
        with self._database.read() as session:
            untracked = SystemStore(session).untracked()
        if untracked:
            with self._database.write() as session:
                SystemStore(session).begin_tracking(untracked)
        with self._database.read() as session:
            store = SystemStore(session)
            checks = store.due_checks(AT_ONCE)
            due = store.due_tracked(16 * AT_ONCE)
            session.expunge_all()
        begun = [self._begin((tracker.id, ""), self._check, tracker) for tracker in checks]
        begun += [self._begin((tracker.id, run.job_id), self._tell, run, tracker) for run, tracker in due]
        return [future for future in begun if future is not None]

    def _begin(self, key: Key, do: Callable[..., None], *arguments: Any) -> Future[None] | None:
        with self._turn:
            self._busy = {known: future for known, future in self._busy.items() if not future.done()}
            same = sum(tracker == key[0] for tracker, _ in self._busy)
            if key in self._busy or len(self._busy) >= AT_ONCE or same >= AT_ONCE_EACH or self._over.is_set():
                return None
            future = self._busy[key] = self._pool.submit(self._guarded, do, *arguments)
            return future

    def _guarded(self, do: Callable[..., None], *arguments: Any) -> None:
        try:
            do(*arguments)
        except Unavailable as error:
            log.warning("tracker not told", why=error.message)
        except Exception:  # a thread's door: one run's trouble is not the others'
            log.exception("tracker not told")

    # one connection

    def _check(self, tracker: Tracker) -> None:
        problem, key = None, (tracker.id, "")
        try:
            self._started(self._opening(tracker), key).open()
        except (TrackerProblem, AppError) as error:
            problem = sentence(error)
        finally:
            self._drop(key)
        if self._over.is_set():
            return
        with self._database.write() as session:
            SystemStore(session).tracker_checked(tracker.id, problem)

    # one run

    def _tell(self, run: TrackedRun, tracker: Tracker) -> None:
        key = (tracker.id, run.job_id)
        try:
            self._tell_all(run, tracker, key)
        except (TrackerProblem, AppError) as error:
            if isinstance(error, Unavailable):
                raise
            self._drop(key)
            if not self._over.is_set():
                self._failed(run, tracker, sentence(error))
        except BaseException:
            self._drop(key)
            raise

    def _tell_all(self, run: TrackedRun, tracker: Tracker, key: Key) -> None:
        """Batch by batch until the tracker has what is stored; each is noted before the next."""
        step, url, mark = run.step, run.url, run.mark
        sender = self._senders.get(key)
        if sender is None:
            self._make_room()
            about = {"run": self._facts(run.job_id), "mark": run.mark, "step": run.step}
            sender = self._started(self._opening(tracker).model_copy(update=about), key)
            opened = sender.open()
            url, mark = opened["url"], opened["mark"]
            step = step if opened["has_until"] is None else opened["has_until"]
        while True:
            untold = self._untold(run.job_id, step)
            if untold.points:
                answer = sender.ask("write", points=[point.model_dump(mode="json") for point in untold.points])
                step, mark = untold.points[-1].step, answer["mark"]
            if untold.is_all:
                sender.ask("end", end=self._end_of(run.job_id).model_dump(mode="json"))
                self._drop(key)
            pause = self._settings.tracker_seconds
            self._note(key, step=step, mark=mark, url=url, is_done=untold.is_all, again_after=pause)
            if untold.is_all or not untold.points:
                return

    def _started(self, opening: Opening, key: Key) -> Sender:
        """A process that `stop` finds, also while it does not answer."""
        home = self._settings.trackers_dir / ".home"
        home.mkdir(parents=True, exist_ok=True)
        with self._turn:
            if self._over.is_set():
                raise TrackerProblem("the worker is being restarted.")
            sender = self._senders[key] = Sender(opening, home, self._settings.tracker_silence_seconds)
            return sender

    def _opening(self, tracker: Tracker) -> Opening:
        """Raises AppError where this installation does not allow it."""
        settings = self._settings
        if tracker.kind not in TRACKERS:
            raise AppError(f"this version of Tuneroom has no tracker {tracker.kind!r}.")
        entry = TRACKERS[tracker.kind]
        hosts = hosts_named(settings.tracker_hosts)
        entry.check(entry.options.model_validate(tracker.options), hosts, settings.tracker_local)
        token = open_sealed(load_key(settings.key_file), tracker.team_id, tracker.sealed) if tracker.sealed else None
        return Opening(
            kind=tracker.kind, options=tracker.options, token=token, hosts=hosts,
            folder=settings.trackers_dir / tracker.team_id / tracker.kind,
        )  # fmt: skip

    def _facts(self, job_id: str) -> RunFacts:
        with self._database.read() as session:
            job = SystemStore(session).job(job_id)
            public = (self._settings.public_url or self._settings.local_url).rstrip("/")
            return RunFacts(
                job=job.id, name=_name(job), link=f"{public}/run?id={job.id}", settings=flat(job.spec),
                began_at=job.started_at or job.created_at,
            )  # fmt: skip

    def _untold(self, job_id: str, after: int) -> Untold:
        with self._database.read() as session:
            return SystemStore(session).untold(job_id, after)

    def _end_of(self, job_id: str) -> RunEnd:
        with self._database.read() as session:
            job = SystemStore(session).job(job_id)
            error = (job.error or {}).get("message")
            result = {name: value for name, value in flat(job.result or {}).items() if _is_short(value)}
            return RunEnd(state=end_state(JobState(job.state)), result=result, error=error)

    def _note(self, key: Key, **told: Any) -> None:
        with self._database.write() as session:
            SystemStore(session).told_until(*key, **told)

    def _failed(self, run: TrackedRun, tracker: Tracker, problem: str) -> None:
        pause = min(self._settings.tracker_seconds * 2 ** min(run.failures, 10), LONGEST_PAUSE)
        with self._database.write() as session:
            store = SystemStore(session)
            ended = store.job(run.job_id).finished_at
            gives_up = ended is not None and datetime.now(UTC) - ended > GIVES_UP_AFTER
            store.telling_failed(tracker.id, run.job_id, problem, again_after=pause, gives_up=gives_up)
        log.warning("tracker did not take a run", tracker=tracker.id, kind=tracker.kind, job=run.job_id)

    # processes that wait for more

    def _make_room(self) -> None:
        with self._turn:
            idle = [key for key in self._senders if key not in self._busy]
            idle.sort(key=lambda key: self._senders[key].told_at)
            surplus = [self._senders.pop(key) for key in idle[: max(0, len(self._senders) - KEPT_OPEN + 1)]]
        for sender in surplus:
            self._pause(sender)

    def _let_go(self) -> None:
        with self._turn:
            senders = [self._senders.pop(key) for key in list(self._senders) if key not in self._busy]
        for sender in senders:
            self._pause(sender)

    def _pause(self, sender: Sender) -> None:
        try:
            sender.ask("pause")
        except TrackerProblem:
            log.info("a tracker's process was ended in the middle")
        sender.end()

    def _drop(self, key: Key) -> None:
        with self._turn:
            sender = self._senders.pop(key, None)
        if sender is not None:
            sender.end()

    def _run(self) -> None:
        while not self._over.wait(self._settings.tracker_seconds):
            try:
                self.round()
            except Unavailable as error:
                log.warning("trackers not told", why=error.message)
            except Exception:  # a thread's door: a round that fails once must not be the last
                log.exception("trackers not told")


def sentence(error: TrackerProblem | AppError) -> str:
    text = error.message if isinstance(error, AppError) else str(error)
    return text[:LONGEST_PROBLEM]


def _name(job: Job) -> str:
    """As a person finds it: the suffix, and the end of the id, which is unique."""
    suffix = (job.spec or {}).get("suffix")
    return f"{suffix}-{job.id[-6:]}" if suffix else job.id


def _is_short(value: object) -> bool:
    return len(value) <= 200 if isinstance(value, str) else isinstance(value, int | float) and math.isfinite(value)
