"""What stage 2 of the data gate found row by row, as far as a training uses it: which rows are nearly the same."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.domain.errors import Code, JobFailed
from worker.data.source import Source
from worker.jobdir import sha256_of
from worker.train.parquet import columns_of


def gates_in_use(
    sources: Sequence[Source], before: Sequence[str | None] | None
) -> tuple[tuple[str | None, ...], list[str]]:
    """The sha256 of each source's report, None where its rows go by their question; and sentences about those.

    `before` are those of the first attempt: a report that has come since is not used, or the split would move.
    Raises JobFailed with code `resume_refused` where one of them is gone.
    """
    here = [sha256_of(source.gate) if source.gate else None for source in sources]
    if before is not None:
        if any(one is not None and one != now for one, now in zip(before, here, strict=True)):
            raise JobFailed(
                "this training cannot resume from its checkpoint: the report of near-duplicates that its split went by "
                "is another one now. Restart it from the beginning, not resume.",
                code=Code.RESUME_REFUSED,
            )
        here = list(before)
    missing = ", ".join(source.name for source, gate in zip(sources, here, strict=True) if gate is None)
    said = f"near-duplicates have not been looked for in {missing} yet; its rows stay together by their question alone."
    return tuple(here), [said] if missing else []


def near_groups(gate: Path | None, numbers: Sequence[int]) -> NDArray[np.uint64]:
    """For each row number its near-duplicate group, other than 0; 0 for rows that stand alone or were not compared."""
    found = np.zeros(len(numbers), dtype=np.uint64)
    if gate is None or not numbers:
        return found
    groups: dict[int, int] = {}
    for number, group in columns_of(gate, "number", "near_group"):
        if group is not None:
            groups[number] = group + 1
    for place, number in enumerate(numbers):
        found[place] = groups.get(number, 0)
    return found
