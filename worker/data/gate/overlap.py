"""Which validation rows the training rows already hold: equal, nearly equal, or asking the same question.

Such rows make validation measure memory. Over any rows with their numbers; writes nothing.
"""

from collections.abc import Iterable

import numpy as np

from models.domain.example import Example
from models.domain.reports import SHOWN_PER_FINDING, Finding, FoundRow
from worker.data.gate.minhash import Signatures, signatures
from worker.data.gate.near import BANDS, COMPARED_A_BUCKET, Places, alike, band_keys
from worker.data.gate.texts import compared_text
from worker.data.split import group_number, group_of

ROWS_AT_ONCE = 1000
KINDS = ("overlap_same", "overlap_near", "overlap_question")  # of several, a row is named by the first

Rows = Iterable[tuple[int, Example]]


def overlap(training: Rows, validation: Rows) -> tuple[Finding, ...]:
    """Findings of the kinds in KINDS; their rows are rows of the validation, each named once.

    Takes about 80 microseconds and 250 bytes a row of 500 characters.
    """
    known, asked = _Known(training), _Known(validation)
    if not known.numbers or not asked.numbers:
        return ()
    near = _near(known.signed(), asked.signed())
    found: dict[str, list[FoundRow]] = {kind: [] for kind in KINDS}
    counts = dict.fromkeys(KINDS, 0)
    for place, number in enumerate(asked.numbers):
        same, question = known.same.get(asked.texts[place]), known.questions.get(asked.groups[place])
        if same is not None:
            kind, row, says = "overlap_same", same, "says the same"
        elif near[place] >= 0:
            kind, row, says = "overlap_near", known.numbers[near[place]], "says nearly the same"
        elif question is not None:
            kind, row, says = "overlap_question", question, "asks the same"
        else:
            continue
        counts[kind] += 1
        if len(found[kind]) < SHOWN_PER_FINDING:
            found[kind].append(FoundRow(row=number, found=f"row {row} of the training data {says}"))
    return tuple(Finding(kind=kind, count=counts[kind], first=tuple(found[kind])) for kind in KINDS if counts[kind])


class _Known:
    """One side's rows as numbers: `texts` and `groups` are 64 bits of what a row says and of its first question."""

    def __init__(self, rows: Rows) -> None:
        self.numbers: list[int] = []
        self.texts: list[int] = []
        self.groups: list[int] = []
        self._signed: list[Signatures] = []
        waiting: list[str] = []
        for number, example in rows:
            self.numbers.append(number)
            self.texts.append(group_number(example.model_dump_json()))
            self.groups.append(group_number(group_of(example)))
            waiting.append(compared_text(example))
            if len(waiting) == ROWS_AT_ONCE:
                self._signed.append(signatures(waiting))
                waiting = []
        self._signed.append(signatures(waiting))
        # The earliest of equal ones.
        self.same = dict(zip(reversed(self.texts), reversed(self.numbers), strict=True))
        self.questions = dict(zip(reversed(self.groups), reversed(self.numbers), strict=True))

    def signed(self) -> Signatures:
        return np.concatenate(self._signed)


def _near(known: Signatures, asked: Signatures) -> Places:
    """For each asked row the place of a known row that is near it, or -1."""
    near = np.full(len(asked), -1, dtype=np.int64)
    for band in range(BANDS):
        keys = band_keys(known, band)
        order = np.argsort(keys, kind="stable")
        ordered, wanted = keys[order], band_keys(asked, band)
        begins, ends = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
        for ahead in range(COMPARED_A_BUCKET):
            ones = np.flatnonzero((begins + ahead < ends) & (near < 0))
            others = order[begins[ones] + ahead]
            both = np.concatenate((asked[ones], known[others]))
            is_near = alike(both, np.arange(len(ones)), np.arange(len(ones), 2 * len(ones)))
            near[ones[is_near]] = others[is_near]
    return near
