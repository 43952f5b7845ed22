"""The job kind CHECK_DATA: reads in/data of a job directory and writes its prepared rows to out/."""

import time
from typing import Protocol

from models.domain.errors import AppError, Code
from models.domain.job import Phase
from models.domain.progress import PhaseBegan, Progressed
from worker.data.intake import prepare, sentence
from worker.data.source import ROWS, Source
from worker.jobdir import JobDir, Outcome

SECONDS_BETWEEN_REPORTS = 1.0


class Stop(Protocol):
    """Says whether the supervisor wants the work to end."""

    def asked(self) -> bool: ...


class _Stopped(Exception):
    """Carries a wish to stop out of the reading loop."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Succeeds with the intake report as its result, or fails with code `invalid_file` where no row can be used."""
    source = Source(jobdir.inputs / "data")
    total_bytes = sum(part.size for part in source.facts.files)
    said_at = time.monotonic()

    def watch(done_bytes: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=min(done_bytes, total_bytes), total=total_bytes, unit="bytes"))
            if stop.asked():
                raise _Stopped

    jobdir.say(PhaseBegan(phase=Phase.CHECKING))
    if stop.asked():
        return Outcome(status="stopped")
    try:
        report = prepare(source.files(), source.facts.reading, jobdir.out / ROWS, watch=watch)
    except _Stopped:
        return Outcome(status="stopped")
    except AppError as refusal:
        return Outcome(status="failed", error=refusal.to_json())
    jobdir.say(Progressed(done=total_bytes, total=total_bytes, unit="bytes"))
    if not report.usable_rows:
        fault = AppError(
            f"none of the {report.rows} rows can be used as {report.format}. {sentence(report.problems[0].first[0])}",
            code=Code.INVALID_FILE,
            **report.model_dump(mode="json"),
        )
        return Outcome(status="failed", error=fault.to_json())
    return Outcome(status="succeeded", result=report.model_dump(mode="json"))
