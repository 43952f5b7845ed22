"""What a job is: kinds, lanes, states and the only legal moves between them.

Wishes are columns (cancel, hold, priority), facts are states. Terminal is terminal: a retry is a new job that
says which one it `resumes`.
"""

from enum import StrEnum

from models.domain.errors import Conflict


class JobKind(StrEnum):
    """What the child process will do; each has one spec type in `models.domain`."""

    TRAIN = "train"
    MERGE = "merge"
    ADD_BASE = "add_base"
    CHECK_DATA = "check_data"
    GATE_DATA = "gate_data"
    COUNT_TOKENS = "count_tokens"
    EDIT_DATA = "edit_data"
    FETCH_DATA = "fetch_data"
    TOY = "toy"  # counts to N without torch: proves the queue, and `doctor` uses it


class Lane(StrEnum):
    """Which workers may run it. A short job never waits behind a long training."""

    JOBS = "jobs"
    LIGHT = "light"
    CHAT = "chat"


LANE_OF: dict[JobKind, Lane] = {
    JobKind.TRAIN: Lane.JOBS,
    JobKind.MERGE: Lane.JOBS,
    JobKind.ADD_BASE: Lane.LIGHT,
    JobKind.CHECK_DATA: Lane.LIGHT,
    JobKind.GATE_DATA: Lane.LIGHT,
    JobKind.COUNT_TOKENS: Lane.LIGHT,
    JobKind.EDIT_DATA: Lane.LIGHT,
    JobKind.FETCH_DATA: Lane.LIGHT,
    JobKind.TOY: Lane.JOBS,
}

PRIORITY_OF: dict[JobKind, int] = {
    JobKind.CHECK_DATA: 2,  # people wait for it
    JobKind.EDIT_DATA: 2,
    JobKind.COUNT_TOKENS: 1,
}  # all others 0: higher is claimed first
QUICK_PRIORITY = 2  # from here on it is quick, and one slot of the lane `light` is kept for it


class JobState(StrEnum):
    """The five facts. See MOVES for who moves a job and what happens if that process dies."""

    QUEUED = "queued"  # in: submit, release, sweep · out: claim, cancel · a dead web process leaves it queued
    RUNNING = "running"  # in: claim · out: settle, release, sweep · a dead owner's lease lapses and sweep takes it
    SUCCEEDED = "succeeded"  # in: settle, with the artefact's row in the same transaction · out: nobody
    FAILED = "failed"  # in: settle, or sweep after the last lost worker · out: nobody
    CANCELLED = "cancelled"  # in: cancel of a queued job, or settle · out: nobody

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

MOVES: frozenset[tuple[JobState | None, JobState]] = frozenset(
    {
        (None, JobState.QUEUED),
        (JobState.QUEUED, JobState.RUNNING),
        (JobState.QUEUED, JobState.CANCELLED),
        (JobState.RUNNING, JobState.SUCCEEDED),
        (JobState.RUNNING, JobState.FAILED),
        (JobState.RUNNING, JobState.CANCELLED),
        (JobState.RUNNING, JobState.QUEUED),
    }
)


class CancelWish(StrEnum):
    """What the person asked of a running job. KEEP makes an adapter of the last step before it ends."""

    DISCARD = "discard"
    KEEP = "keep"


class HeldReason(StrEnum):
    """Why claim passes a queued job by; this is what "paused" shows."""

    USER = "user"
    DISK = "disk"


class Phase(StrEnum):
    """Where a running job is; shown to people, decided by nobody."""

    STAGING = "staging"
    LOADING = "loading"
    PLANNING = "planning"
    TRAINING = "training"
    EVALUATING = "evaluating"
    MERGING = "merging"
    CHECKING = "checking"
    CONVERTING = "converting"
    SAVING = "saving"
    UPLOADING = "uploading"


def check_move(before: JobState | None, after: JobState) -> None:
    """Raise Conflict unless `before -> after` is a legal move."""
    if (before, after) not in MOVES:
        raise Conflict(
            f"a {before} job cannot become {after}; legal next states are "
            f"{sorted(b for a, b in MOVES if a == before) or 'none, it has ended'}. Start a new job instead."
        )
