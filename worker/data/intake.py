"""Stage 1 of the data gate: every row of the files parsed, judged and written as prepared rows. Renders nothing."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from models.catalog.formats import FORMATS, Detector
from models.catalog.formats.base import Format, Problem
from models.catalog.prepared import PreparedWriter
from models.catalog.rows import Row, RowProblem, judged, read_rows
from models.domain.errors import Code, Invalid
from models.domain.example import Example
from models.domain.reading import Reading
from models.domain.reports import SHOWN_PER_FINDING, Finding, FoundRow, IntakeReport, PartRows

Files = Sequence[tuple[str, Path]]  # each with the name it was uploaded under, which tells its container
Watch = Callable[[int], None]


class _Tally:
    """Counts rows and keeps the first problems of each kind."""

    def __init__(self) -> None:
        self.rows = self.usable_rows = 0
        self._counts: dict[Problem, int] = {}
        self._first: dict[Problem, list[FoundRow]] = {}

    def add(self, problem: RowProblem | None) -> None:
        self.rows += 1
        if problem is None:
            self.usable_rows += 1
            return
        self._counts[problem.problem] = self._counts.get(problem.problem, 0) + 1
        first = self._first.setdefault(problem.problem, [])
        if len(first) < SHOWN_PER_FINDING:
            first.append(FoundRow(row=problem.row, field=problem.field, found=problem.found, needed=problem.needed))

    def problems(self) -> tuple[Finding, ...]:
        """Most frequent first."""
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))
        return tuple(Finding(kind=kind, count=self._counts[kind], first=tuple(self._first[kind])) for kind in kinds)


def prepare(files: Files, reading: Reading, destination: Path, *, watch: Watch = lambda _: None) -> IntakeReport:
    """Write the prepared rows of these files, in order, to `destination`, and report on them.

    `watch` is told the bytes read so far of twice the files' size, and may raise to stop. Raises Invalid with code
    `invalid_file` for an empty or foreign file, or one that no format fits.
    """
    (_, path), *_ = files
    name, confidence = (reading.format, 1.0) if reading.format else _detected(path, watch)
    size = path.stat().st_size
    tally, writer = _Tally(), PreparedWriter(destination)
    try:
        for row, outcome in _parsed(path, FORMATS[name]):
            if isinstance(outcome, RowProblem):
                tally.add(outcome)
                writer.add_problem(
                    row.number, outcome.problem, field=outcome.field, found=outcome.found, needed=outcome.needed, raw=""
                )
            else:
                tally.add(None)
                writer.add_example(row.number, outcome)
            watch(size + row.position)
    finally:
        writer.close()
    return IntakeReport(
        format=name,
        confidence=round(confidence, 4),
        is_overruled=reading.format is not None,
        rows=tally.rows,
        usable_rows=tally.usable_rows,
        problems=tally.problems(),
        parts=(PartRows(filename=files[0][0], first_row=1, rows=tally.rows),),
    )


def sentence(problem: FoundRow | RowProblem) -> str:
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
