"""Stage 1 of the data gate: every row of the files parsed, judged and written as prepared rows. Renders nothing.

One pass: the first rows say which format to try, every row is sniffed while it is parsed, and only where the whole
says otherwise does the reading begin again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from models.catalog.formats import FORMATS
from models.catalog.formats.base import Format, Problem
from models.catalog.mapping import in_columns
from models.catalog.prepared import SHOWN_RAW_CHARACTERS, PreparedWriter
from models.catalog.rows import Row, RowProblem, judged
from models.domain.errors import Code, Invalid
from models.domain.reading import Reading
from models.domain.reports import SHOWN_PER_FINDING, Finding, FoundRow, IntakeReport
from worker.data.shapes import Shapes
from worker.data.version_rows import Files, RowRead, VersionRows, Watch

ROWS_TO_GUESS_BY = 200
BYTES_TO_GUESS_BY = 16 * 1024**2
MOST_OTHERS = 3
KEPT_CHARACTERS = 1024
KEPT_CELL_CHARACTERS = 200
_as_json = json.JSONEncoder(ensure_ascii=False).encode


def prepare(files: Files, reading: Reading, destination: Path, *, watch: Watch = lambda _: None) -> IntakeReport:
    """Write the prepared rows of these files, in order, to `destination`, and report on them.

    `watch` is told the bytes read so far, of all files together, and may raise to stop. Raises Invalid with code
    `invalid_file` for an empty or foreign file, or rows that no format fits.
    """
    check_format(reading.format)
    name = reading.format or guessed(files, reading)
    intake = _Intake(files, reading, name, destination)
    ranking = intake.run(watch)
    if reading.format is None:
        if not ranking:
            raise intake.no_format()
        if ranking[0][0] != name:  # the first rows were not like the whole
            intake = _Intake(files, reading, ranking[0][0], destination)
            ranking = intake.run(watch)
    return intake.report(ranking)


def check_format(name: str | None) -> None:
    """Raises Invalid for one that is not there; None is found out."""
    if name is not None and name not in FORMATS:
        raise Invalid(f'there is no format "{name[:40]}"; choose one of {", ".join(FORMATS)}.', param="format")


def guessed(files: Files, reading: Reading) -> str | None:
    """The format of the first rows that can be read; None where no format knows any of them."""
    shapes = Shapes(frozenset())
    for read in first_of(VersionRows(files, reading)):
        if read.row.problem is None:
            shapes.add(read.row.value, read.understood)
    ranking = shapes.formats()
    return ranking[0][0] if ranking else None


def first_of(rows: VersionRows) -> Iterator[RowRead]:
    """The rows to guess by: the first ones, fewer where they are giants."""
    size = 0
    for read in islice(rows, ROWS_TO_GUESS_BY):
        yield read
        size += len(read.row.raw or "")
        if size > BYTES_TO_GUESS_BY:
            return


def shown_raw(row: Row) -> str:
    """The beginning of a row as it stands in its file, or as JSON where only its value is known."""
    if row.raw is None:
        return "" if row.value is None else _as_json(row.value)[:SHOWN_RAW_CHARACTERS]
    raw = row.raw[: 4 * SHOWN_RAW_CHARACTERS]
    text = raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw
    return text.strip()[:SHOWN_RAW_CHARACTERS]


def sentence(problem: FoundRow | RowProblem) -> str:
    """A problem as a person reads it."""
    where = f'"{problem.field}" is ' if problem.field else ""
    return f"Row {problem.row}: {where}{problem.found}; needed: {problem.needed}."


class _Intake:
    """One reading of all files as one format; without a format every row is only sniffed."""

    def __init__(self, files: Files, reading: Reading, name: str | None, destination: Path) -> None:
        self._files, self._reading, self._name, self._destination = files, reading, name, destination
        self._shapes = Shapes(_read_columns(FORMATS[name], reading) if name else frozenset())
        self._tally = _Tally()
        self._kinds: Counter[str] = Counter()

    def run(self, watch: Watch) -> list[tuple[str, float]]:
        """Write the prepared rows; how sure each format is, the likeliest first."""
        self._rows = VersionRows(self._files, self._reading, watch)
        writer = PreparedWriter(self._destination)
        try:
            self._write(writer, FORMATS[self._name] if self._name else None)
        finally:
            writer.close()
        return self._shapes.formats()

    def _write(self, writer: PreparedWriter, entry: Format | None) -> None:
        for row, understood in self._rows:
            if row.problem is not None:
                self._leave_out(writer, row, row.problem.of_row(row.number))
                continue
            shape = self._shapes.add(row.value, understood)
            if entry is None:
                continue
            outcome = judged(understood, row.number, entry)
            if isinstance(outcome, RowProblem):
                self._leave_out(writer, row, outcome)
            else:
                self._kinds[outcome.kind] += 1
                writer.add_example(row.number, outcome, _kept(row.value, shape.spare) if shape.spare else None)

    def _leave_out(self, writer: PreparedWriter, row: Row, problem: RowProblem) -> None:
        if self._reading.mapping:
            problem = replace(problem, field=in_columns(problem.field, self._reading.mapping))
        self._tally.add(problem)
        writer.add_problem(
            problem.row, problem.problem, field=problem.field, found=problem.found, needed=problem.needed,
            raw=shown_raw(row),
        )  # fmt: skip

    def report(self, ranking: list[tuple[str, float]]) -> IntakeReport:
        assert self._name is not None
        sure = dict(ranking)
        others = [(name, round(mean, 4)) for name, mean in ranking if name != self._name][:MOST_OTHERS]
        usable = sum(self._kinds.values())
        return IntakeReport(
            format=self._name,
            confidence=round(sure.get(self._name, 0.0), 4),
            others=tuple(others),
            is_overruled=self._reading.format is not None or bool(self._reading.mapping),
            container=", ".join(self._rows.containers),
            rows=usable + self._tally.rows,
            usable_rows=usable,
            problems=self._tally.problems(),
            kinds=dict(sorted(self._kinds.items())),
            columns=self._shapes.columns(),
            parts=tuple(self._rows.parts),
        )

    def no_format(self) -> Invalid:
        first = self._tally.first
        fault = f" {sentence(first)}" if first else ""
        titles = ", ".join(entry.title for entry in FORMATS.values())
        return Invalid(
            f"no row of the file fits a known format.{fault} Known formats: {titles}. If the columns have other names, "
            "choose a format and say which column stands for which field.",
            code=Code.INVALID_FILE,
        )


class _Tally:
    """Counts the rows that cannot be used and keeps the first of each kind."""

    def __init__(self) -> None:
        self.rows = 0
        self.first: RowProblem | None = None
        self._counts: Counter[Problem] = Counter()
        self._shown: dict[Problem, list[FoundRow]] = {}

    def add(self, problem: RowProblem) -> None:
        self.rows += 1
        self.first = self.first or problem
        self._counts[problem.problem] += 1
        shown = self._shown.setdefault(problem.problem, [])
        if len(shown) < SHOWN_PER_FINDING:
            shown.append(FoundRow(row=problem.row, field=problem.field, found=problem.found, needed=problem.needed))

    def problems(self) -> tuple[Finding, ...]:
        """Most frequent first."""
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))
        return tuple(Finding(kind=kind, count=self._counts[kind], first=tuple(self._shown[kind])) for kind in kinds)


def _read_columns(entry: Format, reading: Reading) -> frozenset[str]:
    """The columns of the file that the format reads, by their own name or by the mapping."""
    pointed = {column for field, column in reading.mapping.items() if field in entry.reads}
    return frozenset(pointed | (entry.reads - reading.mapping.keys()))


def _kept(row: Mapping[str, Any], spare: tuple[str, ...]) -> str | None:
    """What the format did not read, where it is short: rows may be kept together by it."""
    kept: dict[str, Any] = {}
    left = KEPT_CHARACTERS
    for name in spare:
        value = row[name]
        if isinstance(value, str | int | float):
            size = len(name) + len(str(value)) + 6
            if size <= KEPT_CELL_CHARACTERS and size <= left:
                kept[name] = value
                left -= size
    return _as_json(kept) if kept else None
