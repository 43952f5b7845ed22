"""How the rows of a version are understood: which format, which column stands for which field. Part of the version."""

from pydantic import BaseModel, ConfigDict, Field


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
