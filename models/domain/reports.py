"""What the three stages of the data gate say of a dataset version. Written by the worker, read by pages and programs.

Row numbers count from 1 over the whole version: the line of a JSONL file, the element of an array, the record of a
table; the rows of a second file go on where the first one's ended.
"""

from pydantic import BaseModel, ConfigDict, Field

SHOWN_PER_FINDING = 10


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FoundRow(_Report):
    """One row of a finding: where, what was found, what was needed (empty where nothing was)."""

    row: int
    field: str = ""
    found: str
    needed: str = ""


class Finding(_Report):
    """How often a kind of problem occurs, and its first rows. `kind` is stable; `models.catalog.findings` has words."""

    kind: str
    count: int
    first: tuple[FoundRow, ...]


class PartRows(_Report):
    """Which rows came from which file of the version."""

    filename: str
    first_row: int
    rows: int


class Column(_Report):
    """A top-level column of the file: how many rows have it, and whether a format's field was read from it."""

    name: str
    rows: int
    is_read: bool


MOST_COLUMNS = 200  # that a report names


class IntakeReport(_Report):
    """Stage 1. `confidence` is the mean over all rows of how surely they are of `format`, from 0 to 1.

    `others` are the formats that came next. `is_overruled`: a person chose the format, or mapped columns. `kinds`
    counts usable rows by kind of example. A finding here is a row that cannot be used.
    """

    format: str
    confidence: float
    others: tuple[tuple[str, float], ...] = ()
    is_overruled: bool = False
    container: str = "jsonl"
    rows: int
    usable_rows: int
    problems: tuple[Finding, ...]
    kinds: dict[str, int] = Field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    parts: tuple[PartRows, ...] = ()


class NearGroup(_Report):
    """Rows that say nearly the same, by their numbers (the first ones) and how many there are."""

    rows: tuple[int, ...]
    count: int


class GateReport(_Report):
    """Stage 2, over the usable rows. All of it warns; nothing here makes a row unusable.

    `duplicates` counts rows that repeat an earlier one exactly. `near_rows` stand in `near_groups` groups whose
    estimated Jaccard similarity is at least `near_threshold`. `near_checked` is how many rows were compared.
    """

    rows: int
    duplicates: int
    near_rows: int
    near_groups: int
    near_threshold: float
    near_checked: int
    largest_groups: tuple[NearGroup, ...] = ()
    findings: tuple[Finding, ...] = ()
    seconds: float


class Length(_Report):
    """So many sequences of at most `tokens` tokens, and what they hold in all."""

    tokens: int
    sequences: int
    total_tokens: int
    trained_tokens: int


class TokenReport(_Report):
    """Stage 3, for one base and way of writing. Tokens are counted before any row is left out for its length.

    `lengths` rises by `tokens`; from 4,096 on a length is rounded up to a multiple of 16, so every question about a
    maximum length is answered without another count. `longest_rows` and `shortest_rows` are row numbers, most extreme
    first. `findings` are rows that this base's template cannot say, or says differently when served. `notes` are
    sentences about the base itself.
    """

    base_name: str
    rows: int
    sequences: int
    total_tokens: int
    trained_tokens: int
    lengths: tuple[Length, ...]
    percentiles: dict[str, int]  # "50", "90", "99", "100"
    longest_rows: tuple[int, ...] = ()
    shortest_rows: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float
    tokens_per_second: float
