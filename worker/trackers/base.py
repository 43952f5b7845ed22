"""What a sink is: one run in one tracker, opened, written and ended; `worker/trackers/x.py` exports how to open one.

Everything may be done twice: a process that is killed between two answers begins again where the last answer was.
"""

from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from models.domain.tracking import Point, RunEnd, RunFacts


class Opening(BaseModel):
    """The first message to the process. `folder` is the team's own for this tracker; `mark` what the sink last said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    options: dict[str, Any]
    folder: Path
    token: str | None = Field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()
    run: RunFacts | None = None  # None: only try the connection
    mark: str | None = None
    step: int = -1  # the last step that the tracker was told


class Sink(Protocol):
    """One run in one tracker. `url`: its page there. `mark`: a note that is given back at the next opening.

    `has_until`: the last step that the tracker itself says it has; None: it was told and took it.
    """

    url: str | None
    mark: str | None
    has_until: int | None

    def write(self, points: list[Point]) -> None:
        """Take these steps, in order. Raises whatever the library raises."""
        ...

    def end(self, end: RunEnd) -> None:
        """The run is over, and so is the sink."""
        ...

    def pause(self) -> None:
        """This process ends, the run does not."""
        ...


class Refused(Exception):
    """A sentence for the owner of the team: what was found, what was needed, what to do."""
