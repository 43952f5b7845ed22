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


MOST_KEYS_KEPT = 256
FORMATS: dict[str, Format] = _found()


class Detector:
    """Adds up what each format says of each row of a file. Only those that read a key of the row are asked."""

    def __init__(self) -> None:
        self._rows = 0
        self._sums = dict.fromkeys(FORMATS, 0.0)
        self._asked: dict[tuple[str, ...], tuple[Format, ...]] = {}

    def add(self, row: Any) -> None:
        self._rows += 1
        if isinstance(row, dict):
            for entry in self._readers(tuple(row)):
                self._sums[entry.name] += entry.sniff(row)

    def _readers(self, keys: tuple[str, ...]) -> tuple[Format, ...]:
        found = self._asked.get(keys)
        if found is None:
            if len(self._asked) >= MOST_KEYS_KEPT:  # every row with keys of its own
                self._asked.clear()
            found = tuple(entry for entry in FORMATS.values() if not entry.reads.isdisjoint(keys))
            self._asked[keys] = found
        return found

    def result(self) -> tuple[str | None, float]:
        """The likeliest format and its mean confidence over all rows; (None, 0.0) where no format knows any row."""
        return next(iter(self.ranking()), (None, 0.0))

    def ranking(self) -> list[tuple[str, float]]:
        """Each format that knows some row with its mean confidence over all rows, likeliest first."""
        means = [(name, total / self._rows) for name, total in self._sums.items() if total > 0]
        return sorted(means, key=lambda each: -each[1])


def detect(rows: Iterable[Any]) -> tuple[str | None, float]:
    """Which format the rows are in, judged over all of them, and how surely (0 to 1)."""
    detector = Detector()
    for row in rows:
        detector.add(row)
    return detector.result()
