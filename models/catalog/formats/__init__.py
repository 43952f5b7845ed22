"""The dataset formats, one file each, found by import. Decides which one a file is in; reads no files."""

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from models.catalog.formats.base import Format


def _found() -> dict[str, Format]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    formats: tuple[Format, ...] = tuple(import_module(f"{__name__}.{name}").FORMAT for name in names)
    return {entry.name: entry for entry in formats}


FORMATS: dict[str, Format] = _found()


class Detector:
    """Adds up what each format says of each row of a file."""

    def __init__(self) -> None:
        self._rows = 0
        self._sums = dict.fromkeys(FORMATS, 0.0)

    def add(self, row: Any) -> None:
        self._rows += 1
        for name, entry in FORMATS.items():
            self._sums[name] += entry.sniff(row)

    def result(self) -> tuple[str | None, float]:
        """The likeliest format and its mean confidence over all rows; (None, 0.0) where no format knows any row."""
        if not self._rows:
            return None, 0.0
        name = max(self._sums, key=lambda each: self._sums[each])
        confidence = self._sums[name] / self._rows
        return (name, confidence) if confidence > 0 else (None, 0.0)


def detect(rows: Iterable[Any]) -> tuple[str | None, float]:
    """Which format the rows are in, judged over all of them, and how surely (0 to 1)."""
    detector = Detector()
    for row in rows:
        detector.add(row)
    return detector.result()
