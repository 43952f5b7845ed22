"""What the rows of a version look like: which format they are in and which columns they have. Parses nothing.

Rows whose values are texts, numbers, yes, no or nothing are told apart by their keys and kinds alone, because `sniff`
does not judge contents: so a million equal rows cost one look. Rows with a column that some format judges, as a label
that must be yes or no, are looked at one by one.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from models.catalog.formats import FORMATS
from models.domain.reports import MOST_COLUMNS, Column

MOST_SHAPES = 1000
LONGEST_NAME = 200
MOST_KEY_CHARACTERS = 4096
_FLAT = frozenset({str, int, float, bool, type(None)})
_JUDGED = frozenset[str]().union(*(entry.judges for entry in FORMATS.values()))


class Shape:
    """Rows of the same keys and kinds of values, and what the formats say of them: of one, or of all together.

    `spare` are the keys that no field is read from.
    """

    __slots__ = ("is_flat", "keys", "rows", "scores", "sniffs", "spare")

    def __init__(
        self, keys: tuple[str, ...], fields: Collection[str] | None, read: frozenset[str], *, is_flat: bool
    ) -> None:
        self.keys, self.is_flat, self.rows = keys, is_flat, 0
        self.scores = [0.0] * len(FORMATS)
        # A format that reads none of the fields knows nothing of the row. None: the fields differ from row to row.
        self.sniffs = [
            (place, entry.sniff)
            for place, entry in enumerate(FORMATS.values())
            if fields is None or not entry.reads.isdisjoint(fields)
        ]
        self.spare = tuple(key for key in keys if key not in read)


class Shapes:
    """Adds up what the formats say of each row, and how many rows have each column. `read`: columns that are used."""

    def __init__(self, read: frozenset[str]) -> None:
        self.rows = 0
        self._read = read
        self._shapes: dict[Any, Shape] = {}
        self._rest = Shape((), None, read, is_flat=False)  # rows of shapes too many to keep
        self._rest_columns: Counter[str] = Counter()

    def add(self, row: Any, understood: Any) -> Shape:
        """`row` as it stands in the file, `understood` with its columns mapped and its cells decoded."""
        self.rows += 1
        shape = self._shape(row, understood) if type(row) is dict else self._rest
        shape.rows += 1
        if not shape.is_flat or shape.rows == 1:
            scores = shape.scores
            for place, sniff in shape.sniffs:
                scores[place] += sniff(understood)
        return shape

    def formats(self) -> list[tuple[str, float]]:
        """Each format that knows any row, with its mean confidence over all of them; the likeliest first."""
        sums = list(self._rest.scores)
        for shape in self._shapes.values():
            times = shape.rows if shape.is_flat else 1
            sums = [total + times * score for total, score in zip(sums, shape.scores, strict=True)]
        means = [(name, total / self.rows) for name, total in zip(FORMATS, sums, strict=True) if total > 0]
        return sorted(means, key=lambda each: -each[1])

    def columns(self) -> tuple[Column, ...]:
        """In the order of their first row; names that nobody could read are left out."""
        columns: Counter[str] = Counter()
        for shape in self._shapes.values():
            for name in shape.keys:
                columns[name] += shape.rows
        columns.update(self._rest_columns)
        known = [each for each in columns.items() if len(each[0]) <= LONGEST_NAME][:MOST_COLUMNS]
        return tuple(Column(name=name, rows=rows, is_read=name in self._read) for name, rows in known)

    def _shape(self, row: Mapping[str, Any], understood: Mapping[str, Any]) -> Shape:
        key = (tuple(row), tuple(map(type, understood.values())))
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= MOST_SHAPES or sum(map(len, key[0])) + len(key[0]) > MOST_KEY_CHARACTERS:
                for name in key[0]:
                    if name in self._rest_columns or (
                        len(self._rest_columns) < MOST_COLUMNS and len(name) <= MOST_KEY_CHARACTERS
                    ):
                        self._rest_columns[name] += 1
                return self._rest
            is_flat = _FLAT.issuperset(key[1]) and _JUDGED.isdisjoint(understood)
            shape = self._shapes[key] = Shape(key[0], understood, self._read, is_flat=is_flat)
        return shape
