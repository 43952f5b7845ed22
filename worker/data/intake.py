"""Judges a dataset file: its format, its usable rows, its problems by kind. Never renders, never loads a tokenizer."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from models.catalog.formats import FORMATS, Detector
from models.catalog.formats.base import Format, Problem
from models.catalog.rows import Row, RowProblem, judged, read_rows
from models.domain.errors import Code, Invalid, JobFailed
from models.domain.example import Example

SHOWN_PER_PROBLEM = 10


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemRow(_Report):
    """One unusable row. `row` counts from 1: the line of a JSONL file, the element of an array."""

    row: int
    field: str
    found: str
    needed: str


class ProblemCount(_Report):
    """How often a kind of problem occurs, and its first rows."""

    kind: Problem
    count: int
    first: tuple[ProblemRow, ...]


class IntakeReport(_Report):
    """What a file holds. `confidence` is the mean over all rows of how surely they are of `format`."""

    format: str
    confidence: float
    rows: int
    usable_rows: int
    problems: tuple[ProblemCount, ...]


class _Tally:
    """Counts rows and keeps the first problems of each kind."""

    def __init__(self) -> None:
        self.rows = self.usable_rows = 0
        self._counts: dict[Problem, int] = {}
        self._first: dict[Problem, list[ProblemRow]] = {}

    def add(self, problem: RowProblem | None) -> None:
        self.rows += 1
        if problem is None:
            self.usable_rows += 1
            return
        self._counts[problem.problem] = self._counts.get(problem.problem, 0) + 1
        first = self._first.setdefault(problem.problem, [])
        if len(first) < SHOWN_PER_PROBLEM:
            first.append(ProblemRow(row=problem.row, field=problem.field, found=problem.found, needed=problem.needed))

    def problems(self) -> tuple[ProblemCount, ...]:
        """Most frequent first."""
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))
        return tuple(
            ProblemCount(kind=kind, count=self._counts[kind], first=tuple(self._first[kind])) for kind in kinds
        )


def examine(path: Path, *, watch: Callable[[int], None] = lambda _: None) -> IntakeReport:
    """Read the whole file twice: once to tell its format, once to judge each row by it.

    `watch` is told the bytes read so far of twice the file's size, and may raise to stop. Raises Invalid with code
    `invalid_file` for an empty or foreign file, or one that no format fits.
    """
    name, confidence = _detected(path, watch)
    size = path.stat().st_size
    tally = _Tally()
    for row, outcome in _parsed(path, FORMATS[name]):
        tally.add(outcome if isinstance(outcome, RowProblem) else None)
        watch(size + row.position)
    return IntakeReport(
        format=name,
        confidence=round(confidence, 4),
        rows=tally.rows,
        usable_rows=tally.usable_rows,
        problems=tally.problems(),
    )


def read_examples(path: Path, format_name: str | None = None, *, minimum_rows: int = 10) -> list[tuple[int, Example]]:
    """The usable rows with their numbers, for training; the format is detected if none is named.

    Raises JobFailed with code `invalid_training_file` where fewer than `minimum_rows` rows can be used.
    """
    try:
        name = format_name or _detected(path, lambda _: None)[0]
        if name not in FORMATS:
            raise Invalid(f"the format {name} is not known; known are {', '.join(FORMATS)}.", code=Code.INVALID_FILE)
        tally, examples = _Tally(), []
        for row, outcome in _parsed(path, FORMATS[name]):
            tally.add(outcome if isinstance(outcome, RowProblem) else None)
            if not isinstance(outcome, RowProblem):
                examples.append((row.number, outcome))
    except Invalid as refusal:
        raise JobFailed(
            f"the training file cannot be used: {refusal.message}", code=Code.INVALID_TRAINING_FILE, **refusal.facts
        ) from None
    if len(examples) < minimum_rows:
        raise JobFailed(
            f"the training file has {len(examples)} usable rows of {tally.rows} in the format {name}; at least "
            f"{minimum_rows} are needed.{_first_fault(tally)} Fix or add rows.",
            code=Code.INVALID_TRAINING_FILE,
            usable_rows=len(examples),
            rows=tally.rows,
            needed=minimum_rows,
        )
    return examples


def sentence(problem: ProblemRow | RowProblem) -> str:
    """A problem as a person reads it."""
    where = f'"{problem.field}" is ' if problem.field else ""
    return f"Row {problem.row}: {where}{problem.found}; needed: {problem.needed}."


def _detected(path: Path, watch: Callable[[int], None]) -> tuple[str, float]:
    detector, first = Detector(), None
    with path.open("rb") as file:
        for row in read_rows(file):
            if row.problem is None:
                detector.add(row.value)
            first = first or row.problem
            watch(row.position)
    name, confidence = detector.result()
    if name is None:
        fault = f" {sentence(first)}" if first else ""
        titles = ", ".join(entry.title for entry in FORMATS.values())
        raise Invalid(
            f"no row of the file fits a known format.{fault} Known formats: {titles}.", code=Code.INVALID_FILE
        )
    return name, confidence


def _parsed(path: Path, entry: Format) -> Iterator[tuple[Row, Example | RowProblem]]:
    with path.open("rb") as file:
        for row in read_rows(file):
            yield row, judged(row, entry)


def _first_fault(tally: _Tally) -> str:
    problems = tally.problems()
    if not problems:
        return ""
    first = min((row for problem in problems for row in problem.first), key=lambda row: row.row)
    return f" {sentence(first)}"
