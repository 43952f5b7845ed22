"""What a preference training compares with: log-probabilities under the model it STARTS from, measured once.

They travel with every checkpoint: built anew from one, the half-trained model would be its own reference.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from models.domain.errors import Code, JobFailed
from worker.train.inputs import Rows
from worker.train.objective import Preferences
from worker.train.pairs import Pair, Pairs
from worker.train.plan import MicroBatch, cut_rows

FILE = "reference.npy"

References = NDArray[np.float32]  # (pairs, 2), those to train on first, then those to validate with


def measure_references(
    objective: Preferences, rows: Rows, micro: MicroBatch, watch: Callable[[int, int], None]
) -> References:
    """The model must be as it starts. `watch` is told pairs done and in all, and may raise to stop."""
    sides = _sides(rows)
    total, done = sum(side.size for side in sides), 0
    found = np.zeros((total, 2), dtype=np.float32)
    for side in sides:
        start = done
        pairs = [side.different(place) for place in range(side.size)]
        if not pairs:
            continue
        for one in cut_rows(_lengths(pairs), micro):
            found[[start + place for place in one]] = objective.measure([pairs[place] for place in one])
            done += len(one)
            watch(done, total)
    return found


def use_references(rows: Rows, references: References) -> str:
    """From now on each pair has its own; returns their sha256. Raises JobFailed with code `resume_refused` for those
    of other rows."""
    sides = _sides(rows)
    if references.shape != (sum(side.size for side in sides), 2) or references.dtype != np.float32:
        _refuse("its reference is of other rows")
    start = 0
    for side in sides:
        side.references = references[start : start + side.size]
        start += side.size
    return sha256_of_references(references)


def write_references(folder: Path, rows: Rows) -> None:
    """Those in use; nothing where there are none."""
    if sides := _sides(rows):
        np.save(folder / FILE, np.concatenate([side.references for side in sides]), allow_pickle=False)


def read_references(folder: Path, expected_sha256: str | None) -> References:
    """Raises JobFailed with code `resume_refused` where they are not those that the training began with."""
    if not (folder / FILE).is_file():
        _refuse("its reference is missing")
    found = np.load(folder / FILE, allow_pickle=False)
    if sha256_of_references(found) != expected_sha256:
        _refuse("its reference is another one")
    return found


def sha256_of_references(references: References) -> str:
    return sha256(np.ascontiguousarray(references, dtype="<f4").tobytes()).hexdigest()


def _sides(rows: Rows) -> list[Pairs]:
    return [side for side in (rows.pairs, rows.validation_pairs) if side is not None]


def _lengths(pairs: Sequence[Pair]) -> list[int]:
    """Of a forward pass that takes both sequences of a pair together."""
    return [2 * max(len(row.ids) for row in (pair.first, pair.second) if row is not None) for pair in pairs]


def _refuse(why: str) -> NoReturn:
    raise JobFailed(
        f"this training cannot resume from its checkpoint: {why}. Restart it from the beginning, not resume.",
        code=Code.RESUME_REFUSED,
    )
