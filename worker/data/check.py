"""The job kind CHECK_DATA: reads in/data of a job directory and writes its prepared rows to out/."""

import time
from collections.abc import Callable
from typing import Protocol

from models.domain.errors import AppError, Code
from models.domain.job import Phase
from models.domain.progress import PhaseBegan, Progressed
from models.domain.reports import IntakeReport
from worker.data.intake import prepare, sentence
from worker.data.memory import bounded_memory
from worker.data.source import ROWS, Source
from worker.jobdir import JobDir, Outcome

SECONDS_BETWEEN_REPORTS = 1.0
MOST_MEMORY_BYTES = 1024**3  # of its own; a million rows take a quarter of it


class Stop(Protocol):
    """Says whether the supervisor wants the work to end."""

    def asked(self) -> bool: ...


class _Stopped(Exception):
    """Carries a wish to stop out of the reading loop."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Succeeds with the intake report as its result, or fails with code `invalid_file` where no row can be used.

    out/rows.parquet is left where all rows were read: of an unusable file it says what is wrong with each.
    """
    source, rows = Source(jobdir.inputs / "data"), jobdir.out / ROWS
    jobdir.say(PhaseBegan(phase=Phase.CHECKING))
    if stop.asked():
        return Outcome(status="stopped")
    source.verify(Code.INTERNAL)  # our own fault, and no verdict on the file
    total_bytes = sum(part.size for part in source.facts.files)
    report: IntakeReport | None = None
    try:
        with bounded_memory(MOST_MEMORY_BYTES):
            report = prepare(
                source.files(), source.facts.reading, rows, watch=_watching(jobdir, stop, total_bytes)
            )  # fmt: skip
    except _Stopped:
        return Outcome(status="stopped")
    except AppError as refusal:
        return Outcome(status="failed", error=refusal.to_json())
    finally:
        if report is None:
            rows.unlink(missing_ok=True)
    jobdir.say(Progressed(done=total_bytes, total=total_bytes, unit="bytes"))
    assert report is not None  # every way without one has returned
    if not report.usable_rows:
        return _unusable(report)
    return Outcome(status="succeeded", result=report.model_dump(mode="json"))


def _watching(jobdir: JobDir, stop: Stop, total_bytes: int) -> Callable[[int], None]:
    """Tells how far it is once a second, and ends the reading where that is wished."""
    said_at = time.monotonic()

    def watch(done_bytes: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=min(done_bytes, total_bytes), total=total_bytes, unit="bytes"))
            if stop.asked():
                raise _Stopped

    return watch


def _unusable(report: IntakeReport) -> Outcome:
    fault = AppError(
        f"none of the {report.rows} rows can be used as {report.format}. {sentence(report.problems[0].first[0])}",
        code=Code.INVALID_FILE,
        **report.model_dump(mode="json"),
    )
    return Outcome(status="failed", error=fault.to_json())
