"""What a seeded fault is, and the table of all of them. Plants nothing itself: each room of faults fills FAULTS."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.harm.lab import Lab

Tried = Callable[[Lab, bool], list[str]]


class Where(StrEnum):
    """When Tuneroom says it."""

    GATE = "when data is checked"
    START = "before the first step"
    FIRST = "after the first step"
    TRAINING = "while it trains"
    PROOF = "before it is published"
    RESUME = "when it goes on"
    SERVING = "when it is asked"
    MERGING = "when it is merged"


class How(StrEnum):
    """What becomes of it. PREVENTED: the usual way does the harm, ours does not."""

    STOPPED = "stopped"
    NAMED = "named"
    PREVENTED = "prevented"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`harm` is what it does to a fine-tune that nobody watches; `says` is a code, or the words to look for.

    `tried(lab, True)` plants it and returns everything that was said; with False the same path runs without it, and
    must say nothing at all.
    """

    name: str
    harm: str
    where: Where
    how: How
    says: str
    tried: Tried


FAULTS: list[Fault] = []


def fault(name: str, *, where: Where, how: How, says: str, harm: str) -> Callable[[Tried], Tried]:
    """Puts a function that plants a fault into FAULTS."""

    def put(tried: Tried) -> Tried:
        FAULTS.append(Fault(name=name, harm=harm, where=where, how=how, says=says, tried=tried))
        return tried

    return put


def table() -> str:
    """For docs/trust.md and for whoever runs `make harm`."""
    rows = [
        f"| {number} | {one.name} | {one.harm} | {one.how} {one.where} | {_shown(one.says)} |"
        for number, one in enumerate(FAULTS, start=1)
    ]
    head = ["| | fault | what it does where nobody looks | Tuneroom | it says |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _shown(says: str) -> str:
    """Codes as code, words as words."""
    return f"`{says}`" if says.replace("_", "").isalpha() and says.islower() and " " not in says else says
