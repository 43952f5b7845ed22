"""The job kind EDIT_DATA: a version's rows with some of them edited, removed or added, written to out/data.jsonl.

JSON lines keep their bytes, except those that were edited; rows of other files become one JSON object a line, as they
were read. Rows that cannot be used stay as they are, so that a person can mend one after another. Where the format
cannot hold an edit, the whole version is written in the home spelling of its kind (`models.catalog.home`).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from models.catalog.containers import opened
from models.catalog.formats import FORMATS
from models.catalog.formats.base import Format
from models.catalog.home import home_row, line_of
from models.catalog.rows import Row, RowProblem, judged
from models.domain.data_jobs import EditDataSpec
from models.domain.errors import AppError, Code, Invalid, JobFailed
from models.domain.example import EXAMPLE, Example
from models.domain.job import Phase
from models.domain.progress import PhaseBegan, Progressed
from models.domain.reading import Reading
from worker.data.check import MOST_MEMORY_BYTES
from worker.data.intake import guessed, shown_raw
from worker.data.memory import bounded_memory
from worker.data.source import Source
from worker.data.version_rows import VersionRows, mapped
from worker.jobdir import JobDir, Outcome

DATA = "data.jsonl"
SECONDS_BETWEEN_REPORTS = 1.0
KEPT_LINES = "jsonl"  # the container whose rows are lines already


class Stop(Protocol):
    """Says whether the supervisor wants the work to end."""

    def asked(self) -> bool: ...


class _Stopped(Exception):
    """Carries a wish to stop out of the reading loop."""


class _DoesNotFit(Exception):
    """The version's own format cannot hold an edit."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Succeeds with the new version's format, reading and number of rows, or fails in words."""
    order = jobdir.order()
    spec = EditDataSpec.model_validate(order.payload)
    source = Source(jobdir.inputs / "data")
    total_bytes = sum(part.size for part in source.facts.files)
    said_at = time.monotonic()

    def watch(done_bytes: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=min(done_bytes, total_bytes), total=total_bytes, unit="bytes"))
            if stop.asked():
                raise _Stopped

    jobdir.say(PhaseBegan(phase=Phase.SAVING))
    try:
        told = {name: order.facts[name] for name in ("added_by", "added_at") if order.facts.get(name)}
        with bounded_memory(MOST_MEMORY_BYTES):  # it reads what strangers uploaded, as a check does
            made = edited(source, spec, order.facts.get("format"), told, jobdir.out / DATA, watch)
    except _Stopped:
        return Outcome(status="stopped")
    except AppError as refusal:
        return Outcome(status="failed", error=refusal.to_json())
    jobdir.say(Progressed(done=total_bytes, total=total_bytes, unit="bytes"))
    return Outcome(
        status="succeeded",
        result={"rows": made.rows, "format": made.format, "reading": made.reading.model_dump(mode="json")},
    )


@dataclass(frozen=True, kw_only=True)
class Edited:
    """The new version: its rows, the format they are in and how they are to be read."""

    rows: int
    format: str
    reading: Reading


def edited(
    source: Source,
    spec: EditDataSpec,
    format_name: str | None,
    told: dict[str, str],
    destination: Path,
    watch: Callable[[int], None] = lambda _: None,
) -> Edited:
    """Write the new rows. `told` is kept with every appended row; `format_name` is the version's, where it is known.

    Raises Invalid for files that cannot be read, JobFailed for a row that is not there, an edit that is no example, or
    rows of two kinds.
    """
    name = format_name or source.facts.reading.format or guessed(source.files(), source.facts.reading)
    if name is None:
        raise _refused("no row of the version fits a known format. Choose a format and map the columns first.")
    wishes = {edit.row: None if edit.example is None else EXAMPLE.validate_python(edit.example) for edit in spec.edits}
    editing = _Editing(source, FORMATS[name], wishes, [EXAMPLE.validate_python(row) for row in spec.appended], told)
    try:
        return editing.write(destination, watch)
    except _DoesNotFit:
        return _AtHome(editing).write(destination, watch)


@dataclass
class _Editing:
    """One pass over the files in the version's own format. `wishes`: by row number, None removes."""

    source: Source
    entry: Format
    wishes: dict[int, Example | None]
    appended: list[Example]
    told: dict[str, str]
    reading: Reading = field(init=False)
    keeps_lines: bool = field(init=False)

    def __post_init__(self) -> None:
        self.reading = self.source.facts.reading
        self.keeps_lines = all(_container(name, path) == KEPT_LINES for name, path in self.source.files())

    def write(self, destination: Path, watch: Callable[[int], None]) -> Edited:
        wanted = set(self.wishes)
        rows = 0
        with destination.open("wb") as out:
            for number, row, understood in self.rows(watch):
                wanted.discard(number)
                if (line := self.line(number, row, understood)) is not None:
                    rows += out.write(line) > 0
            for example in self.appended:
                rows += out.write(line_of(self.appended_row(example))) > 0
        if wanted:
            raise _refused(f"there is no row {min(wanted)} in {self.source.name}. Load its rows again and choose one.")
        if not rows:
            raise _refused("no row would be left. Leave one, or delete the dataset.")
        return Edited(rows=rows, format=self.format_name, reading=self.new_reading)

    @property
    def format_name(self) -> str:
        return self.entry.name

    @property
    def new_reading(self) -> Reading:
        """Columns stay mapped where their lines stay; elsewhere the rows were written under the fields' names."""
        return self.reading if self.keeps_lines else Reading(format=self.reading.format)

    def rows(self, watch: Callable[[int], None]) -> Iterator[tuple[int, Row, Any]]:
        """Every row with its number over all files, and its value as a format gets it."""
        rows = VersionRows(self.source.files(), self.reading, watch)
        for row, understood in rows:
            yield row.number, row, understood

    def line(self, number: int, row: Row, understood: Any) -> bytes | None:
        """What becomes of one row; None removes it."""
        if number in self.wishes:
            example = self.wishes[number]
            return None if example is None else line_of(self.row_of(example, row.value))
        if self.keeps_lines and isinstance(row.raw, bytes):
            return row.raw if row.raw.endswith(b"\n") else row.raw + b"\n"
        return line_of(shown_raw(row) if row.problem is not None else understood)

    def appended_row(self, example: Example) -> dict[str, Any]:
        return self.row_of(example, None) | self.told

    def row_of(self, example: Example, before: Any) -> dict[str, Any]:
        """The example in this format, under the file's columns, with what else stood in the row."""
        mapping = self.new_reading.mapping
        try:
            rendered = {mapping.get(name, name): value for name, value in self.entry.render(example).items()}
            rest = {name: value for name, value in before.items() if name not in self._read} if _is_row(before) else {}
            row = rendered | {name: value for name, value in rest.items() if name not in rendered}
            if self.entry.parse(mapped(row, mapping) if mapping else row) != example:
                raise _DoesNotFit
        except Invalid:
            raise _DoesNotFit from None
        return row

    @property
    def _read(self) -> frozenset[str]:
        """The columns that the format reads, by their own name or by the mapping."""
        return self.entry.reads | frozenset(self.reading.mapping.values())


class _AtHome(_Editing):
    """The same pass, with every usable row in the home spelling of the one kind that all of them are."""

    def __init__(self, first: _Editing) -> None:
        super().__init__(first.source, first.entry, first.wishes, first.appended, first.told)
        self._kind: str | None = None

    @property
    def format_name(self) -> str:
        return self._name

    @property
    def new_reading(self) -> Reading:
        return Reading()

    def line(self, number: int, row: Row, understood: Any) -> bytes | None:
        if number in self.wishes:
            return super().line(number, row, understood)
        if row.problem is not None:
            return line_of(shown_raw(row))
        outcome = judged(understood, number, self.entry)
        if isinstance(outcome, RowProblem):
            return line_of(understood)
        return line_of(self.row_of(outcome, row.value))

    def row_of(self, example: Example, before: Any) -> dict[str, Any]:
        if self._kind not in (None, example.kind):
            raise _refused(
                f"the version holds rows of the kind {self._kind}, and the new row is of the kind {example.kind}; one "
                "dataset holds one kind. Add the row to another dataset."
            )
        row = home_row(example)
        if self._kind is None:
            self._kind = example.kind
            self._name = max(FORMATS.values(), key=lambda entry: entry.sniff(row)).name
        rest = {name: value for name, value in before.items() if name not in self._read} if _is_row(before) else {}
        return row | {name: value for name, value in rest.items() if name not in row}


def _is_row(value: Any) -> bool:
    return isinstance(value, dict)


def _container(filename: str, path: Path) -> str:
    with opened(filename, path) as file:
        return file.container.name


def _refused(sentence: str) -> JobFailed:
    return JobFailed(sentence, code=Code.INVALID_REQUEST)
