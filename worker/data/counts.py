"""Stage 3 of the data gate, job kind COUNT_TOKENS: how many tokens each row becomes for one base, and which rows that
base cannot say. Renders in sandboxed children, on all cores; what a template does to a child becomes a finding.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from models.catalog.prepared import Prepared
from models.domain.data_jobs import CountTokensSpec
from models.domain.errors import AppError, Code, Invalid
from models.domain.job import Phase
from models.domain.progress import PhaseBegan, Progressed
from models.domain.reports import TokenReport
from models.domain.training import TrainOn
from worker.data.counting import Counted
from worker.data.sandbox import ROW_SECONDS, Ended, Sandbox
from worker.data.source import Source
from worker.data.tallying import Tally
from worker.jobdir import JobDir, Outcome

COUNTS = "counts.parquet"
ROWS_PER_BATCH = 200
CHARACTERS_PER_BATCH = 1_000_000
BATCHES_AHEAD = 2  # a child waiting for each that works
MOST_TOO_SLOW = 10  # rows; then the template itself is at fault, and each costs seconds
SECONDS_BETWEEN_REPORTS = 1.0

Watch = Callable[[int, int], None]
Batch = list[tuple[int, str]]


class Stop(Protocol):
    """Says whether the supervisor wants the work to end."""

    def asked(self) -> bool: ...


class _Stopped(Exception):
    """Carries a wish to stop out of the counting loop."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Succeeds with the token report as its result and counts.parquet in out/."""
    order = jobdir.order()
    spec = CountTokensSpec.model_validate(order.payload)
    said_at = 0.0

    def watch(done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS or done == total:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=done, total=total, unit="rows"))
        if stop.asked():
            raise _Stopped

    jobdir.say(PhaseBegan(phase=Phase.CHECKING))
    try:
        report, write = count(
            Source(jobdir.inputs / "data").prepared(), jobdir.inputs / "base", base_name=order.facts["base_name"],
            train_on=spec.train_on, template_arguments=spec.template_arguments, processes=order.threads, watch=watch,
        )  # fmt: skip
    except _Stopped:
        return Outcome(status="stopped")
    except AppError as refusal:
        return Outcome(status="failed", error=refusal.to_json())
    write(jobdir.out / COUNTS)
    return Outcome(status="succeeded", result=report.model_dump(mode="json"))


def count(
    prepared: Prepared,
    base_dir: Path,
    *,
    base_name: str | None = None,
    train_on: TrainOn = TrainOn.ASSISTANT,
    template_arguments: Mapping[str, Any] | None = None,
    processes: int = 1,
    row_seconds: float = ROW_SECONDS,
    watch: Watch = lambda _done, _total: None,
) -> tuple[TokenReport, Callable[[Path], None]]:
    """The report, and what writes the counts row by row. The number of processes changes nothing but the time.
    A row may take `row_seconds` of processor time.

    `watch` is told rows done and rows in all, and may raise to stop. Raises Invalid with code `invalid_base` or
    `template` where the base cannot be used at all, and `invalid_setting` for its arguments.
    """
    began = time.monotonic()
    tally = Tally()
    pool = _Pool(base_dir, train_on, template_arguments or {}, processes, row_seconds)
    watch(0, prepared.rows)
    try:
        notes = pool.notes()
        for batch, counted in pool.counted(_batches(prepared)):
            for (number, _), each in zip(batch, counted, strict=True):
                tally.add(number, each)
            if tally.count_of("too_slow") >= MOST_TOO_SLOW:
                raise _gave_up(tally.count_of("too_slow"), batch[-1][0])
            watch(min(batch[-1][0], prepared.rows), prepared.rows)
    finally:
        pool.close()
    watch(prepared.rows, prepared.rows)
    report = tally.report(base_name or base_dir.name, notes, time.monotonic() - began)
    return report, tally.write


def _batches(prepared: Prepared) -> Iterator[Batch]:
    batch: Batch = []
    characters = 0
    for number, text in prepared.texts():
        batch.append((number, text))
        characters += len(text)
        if len(batch) >= ROWS_PER_BATCH or characters >= CHARACTERS_PER_BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class _Pool:
    """So many threads, each with a child of its own."""

    def __init__(
        self, base_dir: Path, train_on: TrainOn, arguments: Mapping[str, Any], processes: int, row_seconds: float
    ) -> None:
        self._base_dir, self._row_seconds = base_dir, row_seconds
        self._asked = {"train_on": train_on, "arguments": dict(arguments)}
        self._processes = max(1, processes)
        self._threads = ThreadPoolExecutor(self._processes, thread_name_prefix="count")
        self._own = threading.local()
        self._sandboxes: list[Sandbox] = []

    def notes(self) -> tuple[str, ...]:
        """What the base's renderer says of the base. Opens it, so a base that cannot be used is refused here."""
        return self._threads.submit(self._notes).result()

    def counted(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[Counted]]]:
        """In the order of the batches, a few of them at work at a time."""
        waiting: deque[tuple[Batch, Future[list[Counted]]]] = deque()
        for batch in batches:
            waiting.append((batch, self._threads.submit(self._count, [text for _, text in batch])))
            if len(waiting) >= BATCHES_AHEAD * self._processes:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()

    def close(self) -> None:
        """Also ends what is at work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.kill()
        self._threads.shutdown(wait=True)
        for sandbox in self._sandboxes:
            sandbox.close()

    def _notes(self) -> tuple[str, ...]:
        return tuple(self._sandbox().ask(self._base_dir, "count", self._rows([]))["notes"])

    def _count(self, rows: Sequence[str]) -> list[Counted]:
        """Where the child had to be ended, again with care: then it is known at which row."""
        sandbox = self._sandbox()
        answer = sandbox.tell(self._base_dir, "count", self._rows(rows)) if rows else {"rows": []}
        if isinstance(answer, dict):
            return answer["rows"]
        answer = sandbox.tell(self._base_dir, "count", self._rows(rows, is_careful=True))
        if isinstance(answer, dict):
            return answer["rows"]
        culprit = answer.beats - 2  # the first beat says that the base is open
        if culprit < 0:
            raise _gave_up(0, 0)
        return [*self._count(rows[:culprit]), _ended(answer, self._row_seconds), *self._count(rows[culprit + 1 :])]

    def _rows(self, rows: Sequence[str], *, is_careful: bool = False) -> dict[str, Any]:
        return {**self._asked, "rows": rows, "is_careful": is_careful}

    def _sandbox(self) -> Sandbox:
        if not hasattr(self._own, "sandbox"):
            self._own.sandbox = Sandbox(self._row_seconds, is_in_session=True, is_polite=True)
            self._sandboxes.append(self._own.sandbox)
        return self._own.sandbox


def _ended(answer: Ended, row_seconds: float) -> Counted:
    words = f"the base's chat template did not come to an end within {row_seconds:g} s on this row."
    if not answer.too_slow:
        words = "the process that renders this row ended: it needed more memory than a row is given."
    return [], [], ("too_slow", "", words)


def _gave_up(rows: int, number: int) -> Invalid:
    where = f" on {rows} rows up to row {number}" if rows else ""
    return Invalid(
        f"the base's chat template did not come to an end in time or needed too much memory{where}, so the count was "
        "given up. Choose another base, or leave out the longest rows.",
        code=Code.TEMPLATE,
        kind="too_slow",
    )
