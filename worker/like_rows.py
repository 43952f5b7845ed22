"""Answers "which rows taught this?" for a run: its training rows by likeness to a text. Knows no broker and no SQL.

Which rows were trained on is worked out again from the run's settings, by a process of its own, and remembered for the
last few runs; where that takes longer than an answer may, it goes on and the next question finds it done.
"""

import base64
import json
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.domain.errors import AppError, Code, Unavailable, from_json
from models.domain.likeness import LikeRow, LikeRows
from models.domain.question import AskLikeRows
from worker.cache import Cache
from worker.data.like import nearest, texts_of
from worker.data.sandbox import PROJECT

REMEMBERED = 4
LONGEST_SHOWN = 300  # characters of a question and of an answer
LONGEST_SECONDS = 600  # that working out the rows of one run may take

Numbers = NDArray[np.int64]  # of the rows of one source that were trained on, ascending


class LikeRowsOf:
    """One per process; any thread may ask."""

    def __init__(self, cache: Cache) -> None:
        self._cache, self._lock = cache, threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="trained-rows")
        self._known: OrderedDict[str, Future[list[Numbers]]] = OrderedDict()

    def answer(self, asked: AskLikeRows, watch: Callable[[], None], seconds_left: Callable[[], float]) -> LikeRows:
        """Raises Unavailable with code `timed_out` where not even the rows that were trained on are known in time."""
        trained = self._trained(asked, seconds_left() - 1.0)
        with ExitStack() as held:
            paths = [held.enter_context(self._cache.using_file(one.scope, one.sha256, watch)) for one in asked.prepared]
            found = nearest(_rows(paths, trained), asked.text, asked.shown, lambda: seconds_left() < 0.7)
            examples = _examples(paths, [(one.source, one.number) for one in found.nearest])
        shown = tuple(
            _shown(asked, one.source, one.number, one.likeness, examples[one.source, one.number])
            for one in found.nearest
        )
        return LikeRows(rows=shown, searched=found.rows, trained=sum(map(len, trained)))

    def _trained(self, asked: AskLikeRows, seconds: float) -> list[Numbers]:
        key = asked.model_dump_json(exclude={"text", "shown"})
        with self._lock:
            future = self._known.get(key)
            if future is None or (future.done() and future.exception() is not None):
                future = self._known[key] = self._worker.submit(_work_out, self._cache, asked)
            self._known.move_to_end(key)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        try:
            return future.result(timeout=max(0.0, seconds))
        except TimeoutError:
            raise Unavailable(
                "Which of so many rows were trained on is still being worked out. Ask again in some seconds.",
                code=Code.TIMED_OUT,
            ) from None


def _work_out(cache: Cache, asked: AskLikeRows) -> list[Numbers]:
    with ExitStack() as held:
        wanted = {
            "rows": [str(held.enter_context(cache.using_file(one.scope, one.sha256))) for one in asked.prepared],
            "gates": [
                str(held.enter_context(cache.using_file(one.scope, one.sha256))) if one else None for one in asked.gates
            ],
            "wish": asked.wish.model_dump(mode="json"),
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "worker.train.trained_rows"], input=json.dumps(wanted).encode(),
            capture_output=True, timeout=LONGEST_SECONDS, cwd="/", check=False,
            env={"PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"}, start_new_session=True,
        )  # fmt: skip
    if done.returncode != 0:
        raise AppError(f"the rows of this run cannot be worked out: {done.stderr[-300:].decode(errors='replace')}")
    told = json.loads(done.stdout)
    if "error" in told:
        raise from_json(told["error"])
    return [np.frombuffer(base64.b64decode(one), dtype="<i8") for one in told["numbers"]]


def _rows(paths: Sequence[Path], trained: Sequence[Numbers]) -> Iterator[tuple[int, int, str]]:
    """Those trained on: (source, number, example)."""
    import pyarrow.parquet as pq  # a worker that is never asked does without

    for source, (path, numbers) in enumerate(zip(paths, trained, strict=True)):
        for batch in pq.ParquetFile(path).iter_batches(columns=["number", "example"], batch_size=1000):
            is_trained = np.isin(batch.column("number").to_numpy(), numbers, assume_unique=True)
            examples = batch.column("example")
            for place in np.flatnonzero(is_trained).tolist():
                yield source, batch.column("number")[place].as_py(), examples[place].as_py()


def _examples(paths: Sequence[Path], wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """The examples of these (source, number)."""
    found: dict[tuple[int, int], str] = {}
    import pyarrow.parquet as pq

    for source, path in enumerate(paths):
        numbers = [number for place, number in wanted if place == source]
        if numbers:
            table = pq.read_table(path, columns=["number", "example"], filters=[("number", "in", numbers)])
            rows = zip(table.column("number").to_pylist(), table.column("example").to_pylist(), strict=True)
            found |= {(source, number): example for number, example in rows}
    return found


def _shown(asked: AskLikeRows, source: int, number: int, likeness: float, example: str) -> LikeRow:
    said = list(texts_of(json.loads(example)))
    return LikeRow(
        file=asked.files[source], filename=asked.prepared[source].filename, row=number, likeness=round(likeness, 3),
        asked=_cut(" / ".join(said[:-1])), said=_cut(said[-1]),
    )  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
