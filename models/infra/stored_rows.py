"""Reads rows of a stored dataset file for people who look at them: any row, a page, a search, within a time limit.

A file never changes, so where its rows begin is remembered: a jump to row 1,000,000 is slow once. Knows no database.
"""

import json
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from models.catalog.formats import FORMATS, detect
from models.catalog.formats.base import Format
from models.catalog.rows import RawRow, Row, RowProblem, decoded, judged, raw_rows
from models.domain.example import Conversation, Example, Text
from models.infra.storage import Storage

SECONDS = 2.0
ROWS_BETWEEN_MARKS = 1000
MOST_FILES = 64
ROWS_TO_DETECT_BY = 50
SHOWN_RAW_BYTES = 4000
_ESCAPED = frozenset('"\\/')  # what JSON may write in other characters than it means


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRow:
    """One row as an example, or why it is none; `raw` is the beginning of its bytes as text."""

    number: int
    example: Example | None
    problem: RowProblem | None
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows in order. `following` is the first row not looked at, None at the end; `is_cut`: the time was up there."""

    rows: tuple[SeenRow, ...]
    following: int | None
    is_cut: bool


class StoredRows:
    """May be shared between threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._marks: OrderedDict[tuple[str, str], _Marks] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        scope: str,
        sha256: str,
        *,
        begin: int = 1,
        limit: int,
        words: str = "",
        format_name: str | None = None,
        seconds: float = SECONDS,
    ) -> Slice:
        """At most `limit` rows from row `begin` on in which every word stands. Raises Invalid for a foreign file."""
        deadline = time.monotonic() + seconds
        wanted = tuple(words.lower().split()[:8])
        marks, found = self._marks_of(scope, sha256), []
        with self._storage.open(scope, sha256) as file:
            entry = FORMATS.get(format_name or "") or _detected(file)
            for raw in raw_rows(file, marks.before(begin)):
                marks.note(raw)
                if raw.number >= begin and len(found) == limit:
                    return Slice(rows=tuple(found), following=raw.number, is_cut=False)
                if raw.number >= begin and _may_hold(raw, wanted):
                    row = _seen(raw, entry)
                    if _holds(row, wanted):
                        found.append(row)
                if time.monotonic() > deadline:
                    return Slice(rows=tuple(found), following=max(begin, raw.number + 1), is_cut=True)
        return Slice(rows=tuple(found), following=None, is_cut=False)

    def _marks_of(self, scope: str, sha256: str) -> "_Marks":
        with self._lock:
            marks = self._marks.setdefault((scope, sha256), _Marks())
            self._marks.move_to_end((scope, sha256))
            while len(self._marks) > MOST_FILES:
                self._marks.popitem(last=False)
            return marks


class _Marks:
    """Row numbers of one file and the positions behind them, in order."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._positions: list[int] = []
        self._lock = threading.Lock()

    def before(self, number: int) -> tuple[int, int] | None:
        """The last known row before this one."""
        with self._lock:
            index = bisect_right(self._numbers, number - 1) - 1
            return (self._numbers[index], self._positions[index]) if index >= 0 else None

    def note(self, raw: RawRow) -> None:
        if not isinstance(raw.data, bytes):  # behind a broken end there is nothing to go on with
            return
        with self._lock:
            if raw.number >= (self._numbers[-1] if self._numbers else 0) + ROWS_BETWEEN_MARKS:
                self._numbers.append(raw.number)
                self._positions.append(raw.position)


def texts_of(example: Example) -> Iterator[str]:
    """Everything of it that somebody wrote, turn by turn."""
    match example:
        case Text(text=text):
            yield text
        case Conversation(turns=turns):
            for turn in turns:
                yield from (text for text in (turn.reasoning, turn.content, turn.name) if text)
                yield from (f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in turn.tool_calls)


def _detected(file: BinaryIO) -> Format | None:
    first = (decoded(raw) for raw in islice(raw_rows(file), ROWS_TO_DETECT_BY))
    name, _ = detect(row.value for row in first if row.problem is None)
    return FORMATS.get(name or "")


def _seen(raw: RawRow, entry: Format | None) -> SeenRow:
    row = decoded(raw)
    outcome = judged(row, entry) if entry else row.problem
    is_problem = isinstance(outcome, RowProblem)
    return SeenRow(
        number=row.number,
        example=None if is_problem else outcome,
        problem=outcome if is_problem else None,
        raw=_shown_raw(raw, row),
    )


def _shown_raw(raw: RawRow, row: Row) -> str:
    """Control characters, which no page can show, become question marks."""
    text = _text(raw.data)[:SHOWN_RAW_BYTES] if isinstance(raw.data, bytes) else ""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text.strip())


def _may_hold(raw: RawRow, words: tuple[str, ...]) -> bool:
    """False only where decoding cannot bring the words to light: most rows are passed over without the cost."""
    if not words or not isinstance(raw.data, bytes) or b"\\u" in raw.data:
        return True
    text = _text(raw.data).lower()
    return all(word in text or not _ESCAPED.isdisjoint(word) for word in words)


def _holds(row: SeenRow, words: tuple[str, ...]) -> bool:
    if not words:
        return True
    text = "\n".join(texts_of(row.example) if row.example else (row.raw,)).lower()
    return all(word in text for word in words)


def _text(data: Any) -> str:
    return data.decode("utf-8", errors="replace")
