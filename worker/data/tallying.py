"""Adds up the counts of rows: the report of stage 3 and its Parquet, a line per row. Knows no template."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nlargest, nsmallest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.domain.reports import SHOWN_PER_FINDING, Finding, FoundRow, Length, TokenReport
from worker.data.counting import Counted

EXACT_BELOW = 4096
ROUNDED_TO = 16
SHOWN_ROWS = 10
PERCENTILES = (50, 90, 99, 100)
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("sequences", pa.int64()),
        ("tokens", pa.int64()),  # of the longest sequence
        ("total_tokens", pa.int64()),
        ("trained_tokens", pa.int64()),
        ("problem", pa.string()),  # why this base cannot write the row; null where it can
    ]
)


class Tally:
    """Rows come in order, each once."""

    def __init__(self) -> None:
        self.numbers, self.sequences, self.tokens = array("q"), array("q"), array("q")
        self.total_tokens, self.trained_tokens = array("q"), array("q")
        self.problems: dict[int, str] = {}  # by place
        self._lengths: dict[int, list[int]] = {}
        self._counts: Counter[str] = Counter()
        self._first: dict[str, list[FoundRow]] = {}

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def count_of(self, kind: str) -> int:
        return self._counts[kind]

    def add(self, number: int, counted: Counted) -> None:
        sequences, notes, refusal = counted
        total = trained = 0
        for tokens, trained_tokens in sequences:
            total, trained = total + tokens, trained + trained_tokens
            length = self._lengths.setdefault(_rounded(tokens), [0, 0, 0])
            length[0], length[1], length[2] = length[0] + 1, length[1] + tokens, length[2] + trained_tokens
        if refusal is not None:
            kind, field, words = refusal
            self.problems[self.rows] = kind
            self._find(kind, FoundRow(row=number, field=field, found=words))
        for kind, words in notes:
            self._find(kind, FoundRow(row=number, found=words))
        self.numbers.append(number)
        self.sequences.append(len(sequences))
        self.tokens.append(max((tokens for tokens, _ in sequences), default=0))
        self.total_tokens.append(total)
        self.trained_tokens.append(trained)

    def report(self, base_name: str, notes: Iterable[str], seconds: float) -> TokenReport:
        """`seconds`: what the count took."""
        total = sum(self.total_tokens)
        written = [(self.tokens[place], self.numbers[place]) for place in range(self.rows) if self.sequences[place]]
        lengths = tuple(
            Length(tokens=tokens, sequences=many, total_tokens=held, trained_tokens=trained)
            for tokens, (many, held, trained) in sorted(self._lengths.items())
        )
        longest = nlargest(SHOWN_ROWS, written, key=lambda row: (row[0], -row[1]))
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))
        return TokenReport(
            base_name=base_name,
            rows=self.rows,
            sequences=sum(self.sequences),
            total_tokens=total,
            trained_tokens=sum(self.trained_tokens),
            lengths=lengths,
            percentiles=percentiles(lengths),
            longest_rows=tuple(number for _, number in longest),
            shortest_rows=tuple(number for _, number in nsmallest(SHOWN_ROWS, written)),
            findings=tuple(
                Finding(kind=kind, count=self._counts[kind], first=tuple(self._first[kind])) for kind in kinds
            ),
            notes=tuple(notes),
            seconds=round(seconds, 3),
            tokens_per_second=round(total / seconds, 1) if seconds else 0.0,
        )

    def write(self, path: Path) -> None:
        """counts.parquet. Equal rows give equal bytes."""
        problems = [self.problems.get(place) for place in range(self.rows)]
        columns = [self.numbers, self.sequences, self.tokens, self.total_tokens, self.trained_tokens]
        arrays = [pa.array(column, type=pa.int64()) for column in columns]
        table = pa.Table.from_arrays([*arrays, pa.array(problems, type=pa.string())], schema=SCHEMA)
        pq.write_table(table, path, compression="zstd")

    def _find(self, kind: str, row: FoundRow) -> None:
        self._counts[kind] += 1
        first = self._first.setdefault(kind, [])
        if len(first) < SHOWN_PER_FINDING:
            first.append(row)


def percentiles(lengths: Sequence[Length]) -> dict[str, int]:
    """The least length that holds so many percent of the sequences. Empty where there are none."""
    most = sum(length.sequences for length in lengths)
    found: dict[str, int] = {}
    for percent in PERCENTILES if most else ():
        held = 0
        for length in lengths:
            held += length.sequences
            if held * 100 >= percent * most:
                found[str(percent)] = length.tokens
                break
    return found


def _rounded(tokens: int) -> int:
    return tokens if tokens < EXACT_BELOW else -(-tokens // ROUNDED_TO) * ROUNDED_TO
