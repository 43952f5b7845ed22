"""How long a sweep would take, and which of its runs do not fit, by the estimate of each run."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.domain.access import Principal
from webapp.actions.estimate_training import Verdict, estimate_training
from webapp.actions.plan_sweep import PlannedRun
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class SweepEstimate:
    """`seconds` of all runs one after another, None where one of them is not known; `at_once` run side by side.

    `too_much` are the numbers of the runs that need more memory than any worker has free.
    """

    seconds: float | None
    at_once: int
    too_much: tuple[int, ...]


def estimate_sweep(deps: Deps, principal: Principal, runs: Sequence[PlannedRun]) -> SweepEstimate:
    """Raises Invalid for options that the base cannot follow."""
    found = [(run.number, estimate_training(deps, principal, run.spec)) for run in runs]
    known = [one.seconds for _, one in found if one.seconds is not None]
    return SweepEstimate(
        seconds=sum(known) if len(known) == len(found) else None,
        at_once=max(1, max((one.workers for _, one in found), default=1)),
        too_much=tuple(number for number, one in found if one.verdict is Verdict.TOO_MUCH),
    )
