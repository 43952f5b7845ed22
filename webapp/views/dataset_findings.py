"""Findings of the data gate as a page shows them: the words of the catalog, a shape and a colour by how grave. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.catalog.findings import Weight, words_of
from models.domain.reports import Finding, FoundRow

LOOKS = {
    Weight.UNUSABLE: ("✕", "tr-failed"),
    Weight.ERROR: ("✕", "tr-failed"),
    Weight.WARNING: ("▲", "tr-warned"),
    Weight.NOTE: ("●", "tr-run-note"),
}
ORDER = tuple(LOOKS)


@dataclass(frozen=True, kw_only=True)
class FindingSeen:
    """One kind of finding: what it is called, what it means, what to do, and its first rows."""

    kind: str
    title: str
    meaning: str
    advice: str
    shape: str
    look: str
    count: int
    first: tuple[FoundRow, ...]


def findings_seen(findings: Sequence[Finding]) -> list[FindingSeen]:
    """The gravest first, then the most frequent."""
    ordered = sorted(findings, key=lambda each: (ORDER.index(words_of(each.kind).weight), -each.count))
    return [_seen(each) for each in ordered]


def _seen(finding: Finding) -> FindingSeen:
    words = words_of(finding.kind)
    shape, look = LOOKS[words.weight]
    return FindingSeen(
        kind=finding.kind, title=words.title, meaning=words.explained, advice=words.remedy, shape=shape, look=look,
        count=finding.count, first=finding.first,
    )  # fmt: skip
