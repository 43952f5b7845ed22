"""How the rows of a version are understood: which format, which column stands for which field. Part of the version."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MOST_PARTS = 64  # files of one version


class Reading(BaseModel):
    """`format` None: detected from the content. `mapping` gives, by a field of the format, the file's column.

    A processed version's reading never changes: another reading of the same bytes is another version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str | None = Field(default=None, max_length=40)
    mapping: dict[str, str] = Field(default_factory=dict, max_length=32)


class Part(BaseModel):
    """One file of a version that was made of several, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filename: str
    sha256: str
    size: int


_PARTS: TypeAdapter[tuple[Part, ...]] = TypeAdapter(tuple[Part, ...])


def list_of(parts: Sequence[Part]) -> bytes:
    """The files as JSON: what a version of several has as its own bytes."""
    return _PARTS.dump_json(tuple(parts))


def name_of(parts: Sequence[Part]) -> str:
    """What such a version is called."""
    return parts[0].filename if len(parts) == 1 else f"{parts[0].filename} and {len(parts) - 1} more"
