"""Answers to the short questions about data: what a row becomes, what a file's columns hold, how versions differ."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.domain.reports import FoundRow


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Piece(_Answer):
    """One token as text; bytes of a character that spans tokens stand with the last of them, the others are empty."""

    text: str
    id: int
    trained: bool = False
    special: bool = False


class SeenSequence(_Answer):
    """One sequence as training gets it. `label`: "" or what it is of several ("answer 2", "chosen", "rejected").

    `is_used` False: longer than max_length and left out; the tokens beyond max_length are then shown all the same.
    """

    label: str = ""
    pieces: tuple[Piece, ...]
    tokens: int
    trained_tokens: int
    is_used: bool = True


class RowPreview(_Answer):
    """Row `row` of `rows`. Where the base cannot write it, `kind` and `problem` say why and `sequences` is empty.

    `notes` are sentences about this row and this base; `example` is the row as Example writes itself.
    """

    row: int
    rows: int
    example: dict[str, Any] | None
    sequences: tuple[SeenSequence, ...] = ()
    notes: tuple[str, ...] = ()
    kind: str | None = None
    problem: str | None = None
    before: int | None = None  # the row numbers beside it, where there are any
    after: int | None = None


class MappedRow(_Answer):
    """One of a file's first rows: its cells as short texts, and what it becomes under the format and mapping."""

    row: int
    cells: dict[str, str]
    example: dict[str, Any] | None
    problem: str | None = None


class ColumnsSeen(_Answer):
    """`columns` in the file's order; `format` the one asked for or detected from these first rows, if any fits."""

    container: str
    columns: tuple[str, ...]
    format: str | None
    rows: tuple[MappedRow, ...]


class ChangedRow(_Answer):
    """A row whose question stayed and whose answer did not, before and after; or only one of them."""

    before: int | None
    after: int | None
    before_text: str = ""
    after_text: str = ""


class Comparison(_Answer):
    """Of usable rows, by content. `changed`: the same first question with other content on both sides."""

    added: int
    removed: int
    changed: int
    same: int
    shown: tuple[ChangedRow, ...] = ()


class CheckedFinding(_Answer):
    """For `tuneroom datasets check --json`."""

    kind: str
    title: str
    is_error: bool
    count: int
    first: tuple[FoundRow, ...] = Field(default=())
