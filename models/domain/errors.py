"""Every error a person or a program can meet, and the one list of stable codes. Knows no HTTP.

To add an error: add a code, then raise one of the kinds below with that code and the facts. The message
says what was found, what was needed and what to do. Errors cross processes as JSON (`to_json`).
"""

from enum import StrEnum
from typing import Any, ClassVar


class Code(StrEnum):
    """Stable, public, never reused. The comment says who raises it."""

    # asking
    NOT_SIGNED_IN = "not_signed_in"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    INVALID_REQUEST = "invalid_request"
    INVALID_SETTING = "invalid_setting"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    # data
    INVALID_FILE = "invalid_file"
    INVALID_TRAINING_FILE = "invalid_training_file"
    INVALID_VALIDATION_FILE = "invalid_validation_file"
    INVALID_BASE = "invalid_base"
    MASK = "mask"
    TEMPLATE = "template"
    # running
    LEASE_LOST = "lease_lost"
    WORKER_LOST = "worker_lost"
    CHILD_DIED = "child_died"
    NOT_FINITE = "not_finite"
    NOTHING_LEARNT = "nothing_learnt"
    OUT_OF_MEMORY = "out_of_memory"
    NO_PROGRESS = "no_progress"
    DISK_FULL = "disk_full"
    RESUME_REFUSED = "resume_refused"
    MERGE_REFUSED = "merge_refused"
    ADAPTER_REFUSED = "adapter_refused"
    INTERNAL = "internal"
    # serving
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    CONTEXT_TOO_LONG = "context_length_exceeded"


class AppError(Exception):
    """Root of all expected errors: a sentence for people, a code for programs, facts for both."""

    default_code: ClassVar[Code] = Code.INTERNAL

    def __init__(self, message: str, *, code: Code | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.facts = facts

    def to_json(self) -> dict[str, Any]:
        """The form that crosses processes and rests in `outcome.json` and in the job's row."""
        return {"kind": type(self).__name__, "code": str(self.code), "message": self.message, "facts": self.facts}


class NotSignedIn(AppError):
    """No principal: a missing, unknown or revoked key."""

    default_code = Code.NOT_SIGNED_IN


class Forbidden(AppError):
    """The principal may see the object but not do this to it."""

    default_code = Code.FORBIDDEN


class NotFound(AppError):
    """Absent, or another team's: the answer is the same for both (promise P9)."""

    default_code = Code.NOT_FOUND


class Invalid(AppError):
    """Something the person sent cannot be used as it is. `facts["param"]` names the field where known."""

    default_code = Code.INVALID_REQUEST


class TooLarge(Invalid):
    """More bytes than the limit in Settings."""

    default_code = Code.TOO_LARGE


class Conflict(AppError):
    """The object's state does not allow this move (cancel a finished job ...)."""

    default_code = Code.CONFLICT


class Unavailable(AppError):
    """A part we need (broker, database, worker) does not answer; trying again may help."""

    default_code = Code.UNAVAILABLE


class JobFailed(AppError):
    """A job cannot succeed as it is: the supervisor turns this into the state `failed`."""


class LeaseLost(AppError):
    """Another attempt owns this job now: whatever this one writes is refused (promise P2)."""

    default_code = Code.LEASE_LOST


KINDS: dict[str, type[AppError]] = {
    kind.__name__: kind
    for kind in (
        AppError, NotSignedIn, Forbidden, NotFound, Invalid, TooLarge, Conflict, Unavailable, JobFailed, LeaseLost,
    )
}  # fmt: skip


def from_json(data: dict[str, Any]) -> AppError:
    """The inverse of `AppError.to_json`; an unknown kind becomes a plain AppError."""
    kind = KINDS.get(data.get("kind", ""), AppError)
    return kind(data["message"], code=Code(data["code"]), **data.get("facts", {}))
