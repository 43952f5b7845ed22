"""Stage 2 of the data gate, job kind GATE_DATA: what repeats and what seems personal, over the prepared rows.

Equal rows are told by their hashes, near ones by signatures of the first of each, personal data by patterns in every
row. Nothing here makes a row unusable.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.catalog.prepared import Prepared
from models.domain.errors import AppError, Code
from models.domain.job import Phase
from models.domain.progress import PhaseBegan, Progressed
from models.domain.reports import SHOWN_PER_FINDING, Finding, FoundRow, GateReport, NearGroup
from worker.data.gate.answers import Answers
from worker.data.gate.minhash import PERMUTATIONS, signatures
from worker.data.gate.near import NEAR, Places, near_groups
from worker.data.gate.personal import Personal, personal_in
from worker.data.gate.texts import answers_of, compared_text, placed_texts
from worker.data.source import GATE, Source
from worker.jobdir import JobDir, Outcome

ROWS_AT_ONCE = 1000
SHOWN_GROUPS = 10
SECONDS_BETWEEN_REPORTS = 1.0

Watch = Callable[[int, int], None]


class Stop(Protocol):
    """Says whether the supervisor wants the work to end."""

    def asked(self) -> bool: ...


class _Stopped(Exception):
    """Carries a wish to stop out of the loops."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Succeeds with the gate report as its result and gate.parquet in out/."""
    said_at = 0.0

    def watch(done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS or done == total:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=done, total=total, unit="rows"))
        if stop.asked():
            raise _Stopped

    jobdir.say(PhaseBegan(phase=Phase.CHECKING))
    try:
        source = Source(jobdir.inputs / "data")
        source.verify(Code.INTERNAL)  # our own fault, and no verdict on the file
        report = check(source.prepared(), jobdir.out / GATE, watch=watch)
    except _Stopped:
        return Outcome(status="stopped")
    except AppError as refusal:
        return Outcome(status="failed", error=refusal.to_json())
    return Outcome(status="succeeded", result=report.model_dump(mode="json"))


def check(prepared: Prepared, destination: Path, *, watch: Watch = lambda _done, _total: None) -> GateReport:
    """Write what was found row by row to `destination`, and report on all of it.

    `watch` is told rows done and usable rows in all, and may raise to stop.
    """
    began = time.monotonic()
    numbers, earlier = _repeated(prepared)
    watch(0, len(numbers))
    is_new = earlier < 0
    signed = np.empty((int(is_new.sum()), PERMUTATIONS), dtype=np.uint8)
    personal = _PersonalRows(len(numbers))
    done = compared = 0
    answers = Answers()
    for texts in _batches(prepared, personal, answers):
        new = [text for text, own in zip(texts, is_new[done:], strict=False) if own]
        signed[compared : compared + len(new)] = signatures(new)
        done, compared = done + len(texts), compared + len(new)
        watch(done, len(numbers) + 1)
    groups = _near_places(signed, is_new, earlier, lambda _: watch(done, len(numbers) + 1))
    _write(destination, numbers, earlier, groups, personal.kinds)
    watch(len(numbers), len(numbers))
    sizes = np.bincount(groups[is_new & (groups >= 0)], minlength=1)
    return GateReport(
        rows=len(numbers),
        duplicates=int((~is_new).sum()),
        near_rows=int(sizes.sum()),
        near_groups=int((sizes > 0).sum()),
        near_threshold=NEAR,
        near_checked=compared,
        largest_groups=_largest(sizes, groups, is_new, numbers),
        findings=_cut(answers) + personal.findings(),
        seconds=round(time.monotonic() - began, 3),
    )


def _repeated(prepared: Prepared) -> tuple[NDArray[np.int64], Places]:
    """The numbers of the usable rows, and for each the place of the first equal row; -1 for those that are first."""
    usable = [(number, sha) for number, sha in prepared.columns("number", "sha") if sha is not None]
    numbers = np.array([number for number, _ in usable], dtype=np.int64)
    halves = np.frombuffer(b"".join(sha for _, sha in usable), dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal rows stay in their order
    is_same = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
    begins = np.flatnonzero(~np.append(False, is_same)[: len(order)])
    first = np.repeat(order[begins], np.diff(np.append(begins, len(order))))
    earlier = np.empty(len(order), dtype=np.int64)
    earlier[order] = np.where(first == order, -1, first)
    return numbers, earlier


class _PersonalRows:
    """What seems personal: its kinds by place of the row, and the first rows of each."""

    def __init__(self, rows: int) -> None:
        self.kinds: list[str | None] = [None] * rows
        self._counts: dict[Personal, int] = {}
        self._first: dict[Personal, list[FoundRow]] = {}

    def add(self, place: int, number: int, texts: Iterator[tuple[str, str]]) -> None:
        found: dict[Personal, tuple[str, str]] = {}
        for field, text in texts:
            for kind, masked in personal_in(text).items():
                found.setdefault(kind, (field, masked))
        if found:
            self.kinds[place] = ",".join(sorted(found))
        for kind, (field, masked) in found.items():
            self._counts[kind] = self._counts.get(kind, 0) + 1
            first = self._first.setdefault(kind, [])
            if len(first) < SHOWN_PER_FINDING:
                first.append(FoundRow(row=number, field=field, found=masked))

    def findings(self) -> tuple[Finding, ...]:
        """In the order of `Personal`."""
        return tuple(
            Finding(kind=kind, count=self._counts[kind], first=tuple(self._first[kind]))
            for kind in Personal
            if kind in self._counts
        )


def _cut(answers: Answers) -> tuple[Finding, ...]:
    """Rows whose answers seem cut off."""
    rows = answers.cut
    first = tuple(
        FoundRow(row=row, found="an answer that ends in the middle of a sentence") for row in rows[:SHOWN_PER_FINDING]
    )
    return (Finding(kind="answer_cut", count=len(rows), first=first),) if rows else ()


def _batches(prepared: Prepared, personal: _PersonalRows, answers: Answers) -> Iterator[list[str]]:
    """The texts to compare, in the order of the usable rows; personal data and answers are looked at on the way."""
    texts: list[str] = []
    for place, (number, example) in enumerate(prepared.examples()):
        personal.add(place, number, placed_texts(example))
        for answer in answers_of(example):
            answers.add(number, answer)
        texts.append(compared_text(example))
        if len(texts) == ROWS_AT_ONCE:
            yield texts
            texts = []
    if texts:
        yield texts


def _near_places(
    signed: NDArray[np.uint8], is_new: NDArray[np.bool_], earlier: Places, watch: Callable[[int], None]
) -> Places:
    """For each usable row the place of the first row of its near group, or -1. Repeated rows go with their first."""
    first = near_groups(signed, watch)
    is_alone = np.bincount(first, minlength=len(first))[first] == 1
    new = np.flatnonzero(is_new)
    groups = np.full(len(is_new), -1, dtype=np.int64)
    groups[new] = np.where(is_alone, -1, new[first])
    return np.where(is_new, groups, groups[earlier])


def _largest(
    sizes: Places, groups: Places, is_new: NDArray[np.bool_], numbers: NDArray[np.int64]
) -> tuple[NearGroup, ...]:
    largest = np.argsort(-sizes, kind="stable")[:SHOWN_GROUPS]
    return tuple(
        NearGroup(
            rows=tuple(numbers[np.flatnonzero((groups == group) & is_new)[:SHOWN_PER_FINDING]].tolist()),
            count=int(sizes[group]),
        )
        for group in largest
        if sizes[group]
    )


def _write(
    destination: Path,
    numbers: NDArray[np.int64],
    earlier: Places,
    groups: Places,
    personal: list[str | None],
) -> None:
    """gate.parquet: a line per usable row. Groups and earlier rows are named by row numbers."""

    def named(places: Places) -> pa.Array:
        return pa.array(numbers[places] if len(numbers) else places, type=pa.int64(), mask=places < 0)

    table = pa.table(
        {
            "number": pa.array(numbers, type=pa.int64()),
            "duplicate_of": named(earlier),
            "near_group": named(groups),
            "pii": pa.array(personal, type=pa.string()),
        }
    )
    pq.write_table(table, destination, compression="zstd")
