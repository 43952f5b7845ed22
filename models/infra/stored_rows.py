"""Rows of a version for people who look at them: any row, a page, a search, within a time limit.

Reads the prepared rows and nothing else: the bytes that somebody uploaded are opened by workers only. What is shown is
what trains. Knows no database. pyarrow is loaded by the first reading, not by the web process's start.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from models.catalog.rows import RowProblem
from models.domain.example import Conversation, Example, Labelled, Preference, Text, Turn
from models.infra.storage import Storage

if TYPE_CHECKING:
    from models.catalog.prepared import Prepared

SECONDS = 2.0
MOST_FILES = 64
_ESCAPED = frozenset('"\\')  # what JSON writes in other characters than it means


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRow:
    """One row as an example, or why it is none; `raw` is then the beginning of it as it stood in the file."""

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
    """May be shared between threads. Where the rows of a file lie is remembered for the files last looked at."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._directories: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        scope: str,
        rows_sha256: str,
        *,
        begin: int = 1,
        limit: int,
        words: str = "",
        seconds: float = SECONDS,
    ) -> Slice:
        """At most `limit` rows from row `begin` on in which every word stands. Raises NotFound."""
        deadline = time.monotonic() + seconds
        wanted = tuple(words.lower().split()[:8])
        found: list[SeenRow] = []
        with self._opened(scope, rows_sha256) as prepared:
            for number, text, whole in _from(prepared, begin):
                if len(found) == limit:
                    return Slice(rows=tuple(found), following=number, is_cut=False)
                if _may_hold(text, wanted):
                    row = _seen(whole())
                    if _holds(row, wanted):
                        found.append(row)
                if time.monotonic() > deadline:
                    return Slice(rows=tuple(found), following=number + 1, is_cut=True)
        return Slice(rows=tuple(found), following=None, is_cut=False)

    @contextmanager
    def _opened(self, scope: str, sha256: str) -> "Iterator[Prepared]":
        from models.catalog.prepared import Prepared

        with self._storage.open(scope, sha256) as file:
            with self._lock:
                directory = self._directories.get((scope, sha256))
            prepared = Prepared(file, directory)
            with self._lock:
                self._directories[scope, sha256] = prepared.metadata
                self._directories.move_to_end((scope, sha256))
                while len(self._directories) > MOST_FILES:
                    self._directories.popitem(last=False)
            yield prepared


def texts_of(example: Example) -> Iterator[str]:
    """Everything of it that somebody wrote, turn by turn."""
    match example:
        case Text(text=text):
            yield text
        case Conversation(turns=turns):
            yield from _texts(turns)
        case Preference(prompt=prompt, chosen=chosen, rejected=rejected):
            yield from _texts((*prompt, *chosen, *rejected))
        case Labelled(prompt=prompt, completion=completion):
            yield from _texts((*prompt, *completion))


def _texts(turns: tuple[Turn, ...]) -> Iterator[str]:
    for turn in turns:
        yield from (text for text in (turn.reasoning, turn.content, turn.name) if text)
        yield from (f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in turn.tool_calls)


def _from(prepared: "Prepared", begin: int) -> Iterator[tuple[int, str | None, Callable[[], dict[str, Any]]]]:
    """Number and example of each row, and how to get all of it: a search wants that of few."""
    for group in prepared.groups_from(begin):
        rows = cache(partial(prepared.group, group))
        for place, (number, text) in enumerate(zip(*prepared.group_columns(group, "number", "example"), strict=True)):
            if number >= begin:
                yield number, text, lambda place=place, rows=rows: rows()[place]


def _seen(values: dict[str, Any]) -> SeenRow:
    from models.catalog.prepared import prepared_row

    row = prepared_row(values)
    problem = None
    if row.problem is not None:
        problem = RowProblem(row=row.number, problem=row.problem, field=row.field, found=row.found, needed=row.needed)
    return SeenRow(number=row.number, example=row.example, problem=problem, raw=_shown_raw(row.raw))


def _shown_raw(raw: str) -> str:
    """Control characters, which no page can show, become question marks."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in raw.strip())


def _may_hold(example: str | None, words: tuple[str, ...]) -> bool:
    """False only where no look into the row can bring the words to light: most are passed over without the cost."""
    if not words or example is None:
        return True
    text = example.lower()
    return all(word in text or not _ESCAPED.isdisjoint(word) for word in words)


def _holds(row: SeenRow, words: tuple[str, ...]) -> bool:
    if not words:
        return True
    text = "\n".join(texts_of(row.example) if row.example else (row.raw,)).lower()
    return all(word in text for word in words)
