"""Rows that cannot be trained on: counted by kind, and said in one sentence. Decides nothing about them."""

from dataclasses import dataclass, field

from models.catalog.findings import words_of
from models.domain.errors import Code
from models.domain.reports import FoundRow
from worker.data.intake import sentence


@dataclass(kw_only=True)
class BadRows:
    """`first` is the first one met, as a sentence that names its row; `code` what made it unusable."""

    counts: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    code: Code | None = None

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def unreadable(self, found: FoundRow, kind: str) -> None:
        """A row that stage 1 of the data gate could not use."""
        self._add(kind, sentence(found), None)

    def unwritable(self, kind: str, message: str, code: Code) -> None:
        """A row that this base's template cannot write; `message` names the row."""
        self._add(kind, message, code)
        self.code = self.code or code

    def words(self) -> str:
        """`Empty field (8), No answer (4)`, the most frequent first."""
        kinds = sorted(self.counts, key=lambda kind: (-self.counts[kind], kind))
        return ", ".join(f"{words_of(kind).title} ({self.counts[kind]:,})" for kind in kinds)

    def _add(self, kind: str, message: str, code: Code | None) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first = self.first or message[:1].upper() + message[1:]
