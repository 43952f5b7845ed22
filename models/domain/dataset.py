"""A dataset's check as people see it: how far it is, and what it found."""

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    WAITING = "waiting"
    CHECKING = "checking"
    GOOD = "good"
    WITH_PROBLEMS = "with_problems"  # usable; some rows are left out
    UNUSABLE = "unusable"
    NOT_CHECKED = "not_checked"  # the check itself did not come to its end

    @property
    def is_moving(self) -> bool:
        return self in (CheckState.WAITING, CheckState.CHECKING)

    @property
    def is_usable(self) -> bool:
        return self in (CheckState.GOOD, CheckState.WITH_PROBLEMS)


@dataclass(frozen=True, kw_only=True)
class Check:
    """`share` from 0 to 1 is how much has been read; `sentence` says why a file or its check failed."""

    state: CheckState
    share: float | None = None
    sentence: str | None = None
