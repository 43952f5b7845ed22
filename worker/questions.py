"""Answers short questions in a worker of the lane `light`: previews, columns, comparisons, likeness. No broker, no SQL.

Stored files come through the cache. What a template does happens in a sandbox's child, what an upload does in a
process of its own; only prepared rows are read here. Any thread may call `answer`.
"""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, assert_never

import structlog

from models.domain.errors import AppError, Code, Invalid, Unavailable, from_json
from models.domain.preview import RowPreview
from models.domain.question import Answered, AskLikeRows, CompareVersions, PreviewRow, Question, ReadColumns
from worker.cache import Cache
from worker.data.comparing import compare
from worker.data.places import place_of, row_at
from worker.data.sandbox import PROJECT, Sandbox
from worker.like_rows import LikeRowsOf

AT_ONCE = 2  # previews at a time, each by a child of its own

log = structlog.get_logger()


class Questions:
    """Made once per process; `close` ends its children."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._like_rows = LikeRowsOf(cache)
        # The last one used goes first: it has opened the bases that are asked for.
        self._sandboxes: queue.LifoQueue[Sandbox] = queue.LifoQueue()
        self._all = [Sandbox() for _ in range(AT_ONCE)]
        for sandbox in self._all:
            self._sandboxes.put(sandbox)

    def warm_up(self) -> None:
        """Start the first child and load what reads rows now, so that the first preview does not wait for them."""
        self._all[-1].start()
        threading.Thread(target=import_module, args=("pyarrow.parquet",), name="warm", daemon=True).start()

    def answer(self, question: Question) -> Answered | None:
        """None where it is too late to answer. The door where every fault becomes an error that can be told."""
        if datetime.now(UTC) >= question.deadline_at:
            log.info("question dropped: its time is over", question=question.question_id)
            return None
        try:
            return Answered(answer=self._answer(question))
        except AppError as error:
            log.info("question refused", question=question.question_id, code=error.code, why=error.message)
            return Answered(error=error.to_json())
        except Exception:
            log.exception("unexpected error while answering", question=question.question_id)
            return Answered(error=_internal().to_json())

    def close(self) -> None:
        for sandbox in self._all:
            sandbox.kill()

    def _answer(self, question: Question) -> dict[str, Any]:
        def watch() -> None:
            if datetime.now(UTC) >= question.deadline_at:
                raise Unavailable("The files did not arrive in time. Ask again.", code=Code.TIMED_OUT)

        match question.asked:
            case PreviewRow() as asked:
                return self._preview(asked, watch, question.deadline_at)
            case ReadColumns() as asked:
                return self._columns(asked, watch, question.deadline_at)
            case CompareVersions() as asked:
                with (
                    self._cache.using_file(asked.before.scope, asked.before.sha256, watch) as before,
                    self._cache.using_file(asked.after.scope, asked.after.sha256, watch) as after,
                ):
                    return compare(before, after, asked.shown).model_dump(mode="json")
            case AskLikeRows() as asked:
                found = self._like_rows.answer(asked, watch, lambda: _seconds_until(question.deadline_at))
                return found.model_dump(mode="json")
            case asked:
                assert_never(asked)

    def _preview(self, asked: PreviewRow, watch: Callable[[], None], deadline_at: datetime) -> dict[str, Any]:
        with ExitStack() as held:
            rows = held.enter_context(self._cache.using_file(asked.prepared.scope, asked.prepared.sha256, watch))
            counts = None
            if asked.jump is not None and asked.counts is not None:
                counts = held.enter_context(self._cache.using_file(asked.counts.scope, asked.counts.sha256, watch))
            found = row_at(rows, place_of(rows, asked, counts))
            if found.row.example is None:
                seen = RowPreview(
                    row=found.row.number, rows=found.rows, example=None, kind=str(found.row.problem),
                    problem=found.problem, before=found.before, after=found.after,
                )  # fmt: skip
                return seen.model_dump(mode="json")
            base_dir = held.enter_context(self._cache.using_texts(asked.base, watch))
            wanted = {
                "example": found.row.example.model_dump(mode="json"), "row": found.row.number, "rows": found.rows,
                "max_length": asked.max_length, "over_long": asked.over_long, "train_on": asked.train_on,
                "arguments": asked.template_arguments,
            }  # fmt: skip
            with self._sandbox(deadline_at) as sandbox:
                seen = sandbox.ask(base_dir, "preview", wanted)
            return seen | {"before": found.before, "after": found.after}

    def _columns(self, asked: ReadColumns, watch: Callable[[], None], deadline_at: datetime) -> dict[str, Any]:
        with ExitStack() as held:
            files = [
                (each.filename, str(held.enter_context(self._cache.using_file(each.scope, each.sha256, watch))))
                for each in asked.files
            ]
            wanted = {"files": files, "format": asked.format, "mapping": asked.mapping, "rows": asked.rows}
            return _peek(wanted, _seconds_until(deadline_at))

    @contextmanager
    def _sandbox(self, deadline_at: datetime) -> Iterator[Sandbox]:
        try:
            sandbox = self._sandboxes.get(timeout=max(0.0, _seconds_until(deadline_at)))
        except queue.Empty:
            raise Unavailable("Other previews took too long. Ask again.", code=Code.TIMED_OUT) from None
        try:
            yield sandbox
        finally:
            self._sandboxes.put(sandbox)


def _peek(wanted: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The first rows of uploaded files, read by a process of its own that bounds its memory."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "worker.data.peek"],
            input=json.dumps(wanted).encode(), capture_output=True, timeout=max(0.1, seconds), cwd="/", check=False,
            env={"PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"}, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Invalid("the first rows of the file could not be read in time.", code=Code.INVALID_FILE) from None
    if done.returncode != 0:
        log.warning("reading columns ended", code=done.returncode, said=done.stderr[-2000:].decode(errors="replace"))
        raise Invalid(
            "the first rows of the file cannot be read: they need too much memory, or are damaged. "
            "Correct the file and upload it again.",
            code=Code.INVALID_FILE,
        )
    found = json.loads(done.stdout)
    if "error" in found:
        raise from_json(found["error"])
    return found


def _seconds_until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


def _internal() -> AppError:
    return AppError(
        "Something unexpected stopped this answer; the worker's log has the details. Ask again, and tell an "
        "administrator if it happens twice."
    )
