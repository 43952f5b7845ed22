"""Keeps one team from filling a lane: so many jobs of a kind may wait and run at a time, and no more."""

from models.db.store.team import TeamStore
from models.domain.errors import AppError, Code
from models.domain.job import JobKind, JobState

MOST_WAITING = {JobKind.EDIT_DATA: 50, JobKind.COUNT_TOKENS: 50, JobKind.FETCH_DATA: 5}
WORDS = {
    JobKind.EDIT_DATA: "changes of rows",
    JobKind.COUNT_TOKENS: "counts of tokens",
    JobKind.FETCH_DATA: "downloads",
}


def refuse_flood(store: TeamStore, kind: JobKind) -> None:
    """Raises AppError(rate_limited) where the team has as many unfinished jobs of this kind as it may."""
    most = MOST_WAITING[kind]
    states = (JobState.QUEUED, JobState.RUNNING)
    if len(store.jobs(limit=most, kinds=(kind,), states=states).items) >= most:
        raise AppError(
            f"{most} {WORDS[kind]} wait or run in this team, the most at a time. Wait for one to end, or cancel one.",
            code=Code.RATE_LIMITED,
        )
