"""One line that shows how far something is: a bar on a terminal, a plain line per change into a pipe."""

import sys
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class ProgressLine:
    """Use as a context; the line ends with it."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns) if sys.stdout.isatty() else None
        self._task = self._bar.add_task("", total=None) if self._bar else None
        self._last = ""

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: tuple[type[BaseException], BaseException, TracebackType]) -> None:
        if self._bar:
            self._bar.stop()

    def show_job(self, doing: str, progress: dict[str, Any]) -> None:
        """As the HTTP interface tells it: done, total and unit, each possibly unknown."""
        self.show(doing + (f", {progress['unit']}" if progress["unit"] else ""), progress["done"], progress["total"])

    def show(self, doing: str, done: int | None = None, total: int | None = None) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=doing, completed=done or 0, total=total)
        elif doing != self._last:
            print(f"  {doing}", flush=True)
            self._last = doing
