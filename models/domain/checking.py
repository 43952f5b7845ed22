"""The data gate without a server: what `tuneroom datasets check` asks of a worker process, and what it gets back.

The command writes a CheckRequest to the process's stdin; the process writes lines of Doing to stdout and a Checked as
the last one.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.domain.preview import CheckedFinding
from models.domain.reading import Reading
from models.domain.reports import GateReport, IntakeReport, TokenReport


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(StrEnum):
    """What a check comes to. Warnings alone are clean, unless `is_strict`."""

    CLEAN = "clean"
    PROBLEMS = "problems"  # some rows cannot be used, or not with this base
    UNUSABLE = "unusable"  # no row can be used, or the check could not be made


class CheckRequest(_Told):
    """`files` and `validation` are absolute paths, `base` is the folder of a base model or None for no stage 3."""

    files: tuple[str, ...] = Field(min_length=1)
    reading: Reading = Reading()
    validation: tuple[str, ...] = ()
    base: str | None = None
    base_name: str | None = None
    max_length: int = Field(default=2048, ge=16, le=131_072)
    is_strict: bool = False
    processes: int = Field(default=1, ge=1)


class Doing(_Told):
    """How far a check is; `total` None: nobody knows yet."""

    doing: str
    done: int = 0
    total: int | None = None


class Checked(_Told):
    """`findings` are those of all stages, the gravest first. `tokens` and `max_length` only for a base.

    `validation` is stage 1 of the validation files, whose problems count as well. `error` is an AppError as it writes
    itself, where a stage could not be made.
    """

    verdict: Verdict
    findings: tuple[CheckedFinding, ...] = ()
    intake: IntakeReport | None = None
    gate: GateReport | None = None
    tokens: TokenReport | None = None
    max_length: int | None = None
    validation: IntakeReport | None = None
    error: dict[str, Any] | None = None
