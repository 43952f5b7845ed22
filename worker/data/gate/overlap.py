"""Which validation rows the training rows already hold: equal, nearly equal, or asking the same question.

Such rows make validation measure memory. Over any rows with their numbers; writes nothing.
"""

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

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

    Takes about 70 microseconds and, beside what is sorted, 150 bytes a row of 500 characters.
    """
    known, asked = _Side(training), _Side(validation)
    if not len(known.numbers) or not len(asked.numbers):
        return ()
    reasons = (
        (_equal(known.texts, asked.texts), "says the same"),
        (_near(known.signed, asked.signed), "says nearly the same"),
        (_equal(known.groups, asked.groups), "asks the same"),
    )
    findings: list[Finding] = []
    is_open = np.ones(len(asked.numbers), dtype=np.bool_)
    for kind, (met, says) in zip(KINDS, reasons, strict=True):
        places = np.flatnonzero(is_open & (met >= 0))
        is_open[places] = False
        first = tuple(
            FoundRow(
                row=int(asked.numbers[place]), found=f"row {known.numbers[met[place]]} of the training data {says}"
            )
            for place in places[:SHOWN_PER_FINDING]
        )
        if len(places):
            findings.append(Finding(kind=kind, count=len(places), first=first))
    return tuple(findings)


class _Side:
    """Rows as numbers: `texts` and `groups` are 64 bits of what a row says and of its first question."""

    def __init__(self, rows: Rows) -> None:
        numbers, texts, groups = array("q"), array("Q"), array("Q")
        signed: list[Signatures] = []
        waiting: list[str] = []
        for number, example in rows:
            numbers.append(number)
            texts.append(group_number(example.model_dump_json()))
            groups.append(group_number(group_of(example)))
            waiting.append(compared_text(example))
            if len(waiting) == ROWS_AT_ONCE:
                signed.append(signatures(waiting))
                waiting = []
        self.signed = np.concatenate([*signed, signatures(waiting)])
        self.numbers = np.frombuffer(numbers, dtype=np.int64)
        self.texts = np.frombuffer(texts, dtype=np.uint64)
        self.groups = np.frombuffer(groups, dtype=np.uint64)


def _equal(known: NDArray[np.uint64], asked: NDArray[np.uint64]) -> Places:
    """For each asked value the place of the first known one that equals it, or -1."""
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    begins = np.minimum(np.searchsorted(ordered, asked, "left"), len(order) - 1)
    return np.where(ordered[begins] == asked, order[begins], -1)


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
