"""`python -P -m worker.data.checking`: the data gate over files on this machine, with no server, for the command line.

Reads a CheckRequest from stdin, writes lines of Doing and at last a Checked to stdout. Knows files; no job, no
database, no torch, and no layout for people.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq

from models.catalog.findings import Weight, words_of
from models.catalog.prepared import Prepared
from models.domain.checking import Checked, CheckRequest, Doing, Verdict
from models.domain.errors import AppError, Code, Invalid
from models.domain.preview import CheckedFinding
from models.domain.reports import SHOWN_PER_FINDING, Finding, FoundRow, GateReport, IntakeReport, TokenReport
from worker.data.counts import count
from worker.data.gate.overlap import overlap
from worker.data.gate.run import check
from worker.data.intake import prepare

SECONDS_BETWEEN_REPORTS = 0.2


def main() -> None:
    """Exits 0 whatever was found: the verdict is in the answer."""
    request = CheckRequest.model_validate_json(sys.stdin.buffer.read())
    with suppress(KeyboardInterrupt, BrokenPipeError), tempfile.TemporaryDirectory(prefix="tuneroom-check-") as folder:
        print(checked(request, Path(folder)).model_dump_json(), flush=True)


def checked(request: CheckRequest, folder: Path) -> Checked:
    """All stages that were asked for; `folder` holds what lies between them. Ends with the first that cannot be."""
    stages = _Stages(request, folder)
    try:
        stages.run()
    except AppError as error:
        stages.error = error
    except MemoryError:
        stages.error = Invalid(
            "a file needs more memory than files of rows do; it may be damaged or made to do that. Look into it.",
            code=Code.INVALID_FILE,
        )
    return stages.answer()


class _Stages:
    """One check, and what it has found so far."""

    def __init__(self, request: CheckRequest, folder: Path) -> None:
        self._request, self._folder = request, folder
        self.error: AppError | None = None
        self._intake: IntakeReport | None = None
        self._validation: IntakeReport | None = None
        self._gate: GateReport | None = None
        self._tokens: TokenReport | None = None
        self._findings: list[Finding] = []

    def run(self) -> None:
        rows = self._folder / "rows.parquet"
        self._intake = self._read(self._request.files, rows, "reading rows")
        self._findings += self._intake.problems
        if not self._intake.usable_rows:
            return
        watch = _Watch("comparing rows")
        gate = self._folder / "gate.parquet"
        self._gate = check(Prepared(rows), gate, watch=watch)
        self._findings += [*repeats(gate), *self._gate.findings]
        if self._request.validation:
            self._compare(rows)
        if self._request.base is not None:
            self._count(rows, Path(self._request.base))

    def _compare(self, rows: Path) -> None:
        held_out = self._folder / "validation.parquet"
        self._validation = self._read(self._request.validation, held_out, "reading validation rows")
        _Watch("comparing with the validation rows")(0, None)
        self._findings += overlap(Prepared(rows).examples(), Prepared(held_out).examples())

    def _count(self, rows: Path, base: Path) -> None:
        self._tokens, write = count(
            Prepared(rows), base, base_name=self._request.base_name, processes=self._request.processes,
            watch=_Watch("counting tokens"),
        )  # fmt: skip
        counts = self._folder / "counts.parquet"
        write(counts)
        self._findings += [*self._tokens.findings, *over_long(counts, self._request.max_length)]

    def _read(self, files: Sequence[str], destination: Path, doing: str) -> IntakeReport:
        paths = [Path(file) for file in files]
        for path in paths:
            if not path.is_file():
                raise Invalid(f"{path} is no file. Correct the path.", code=Code.INVALID_FILE)
        total, watch = sum(path.stat().st_size for path in paths), _Watch(doing)
        return prepare(
            [(path.name, path) for path in paths], self._request.reading, destination,
            watch=lambda done: watch(done, total),
        )  # fmt: skip

    def answer(self) -> Checked:
        findings = tuple(
            CheckedFinding(
                kind=found.kind, title=words_of(found.kind).title, is_error=words_of(found.kind).weight.is_error,
                count=found.count, first=found.first,
            )
            for found in sorted(self._findings, key=lambda found: words_of(found.kind).weight.gravity)
        )  # fmt: skip
        return Checked(
            verdict=self._verdict(), findings=findings, intake=self._intake, gate=self._gate, tokens=self._tokens,
            max_length=self._request.max_length if self._tokens else None, validation=self._validation,
            error=self.error.to_json() if self.error else None,
        )  # fmt: skip

    def _verdict(self) -> Verdict:
        if self.error or self._intake is None or not self._intake.usable_rows:
            return Verdict.UNUSABLE
        if self._tokens is not None and not self._tokens.trained_tokens:
            return Verdict.UNUSABLE
        if self._validation is not None and not self._validation.usable_rows:
            return Verdict.UNUSABLE
        weights = [words_of(found.kind).weight for found in self._findings]
        if any(weight.is_error or (weight is Weight.WARNING and self._request.is_strict) for weight in weights):
            return Verdict.PROBLEMS
        return Verdict.PROBLEMS if self._validation is not None and self._validation.problems else Verdict.CLEAN


def repeats(gate: Path) -> Iterator[Finding]:
    """Rows that say the same as an earlier one, or nearly the same, with the first of each. From gate.parquet."""
    table = pq.read_table(gate, columns=["number", "duplicate_of", "near_group"])
    number, same, near = (table.column(name).fill_null(0).to_numpy() for name in table.column_names)
    is_near = (near > 0) & (near < number) & (same == 0)
    for kind, is_found, earlier, says in (
        ("duplicate", same > 0, same, "the same as"),
        ("near_duplicate", is_near, near, "much like"),
    ):
        places = is_found.nonzero()[0]
        first = tuple(
            FoundRow(row=int(number[place]), found=f"{says} row {earlier[place]}")
            for place in places[:SHOWN_PER_FINDING]
        )
        if len(places):
            yield Finding(kind=kind, count=len(places), first=first)


def over_long(counts: Path, max_length: int) -> Iterator[Finding]:
    """Rows of which a sequence is longer than the maximum."""
    table = pq.read_table(counts, columns=["number", "tokens"])
    tokens = table.column("tokens").to_numpy()
    places = (tokens > max_length).nonzero()[0]
    if len(places):
        numbers = table.column("number").to_numpy()
        first = tuple(
            FoundRow(row=int(numbers[place]), found=f"{tokens[place]:,} tokens", needed=f"at most {max_length:,}")
            for place in places[:SHOWN_PER_FINDING]
        )
        yield Finding(kind="over_long", count=len(places), first=first)


class _Watch:
    """Says how far one stage is, a few times a second."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._said_at = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_REPORTS:
            self._said_at = time.monotonic()
            print(Doing(doing=self._doing, done=done, total=total).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
