"""Training rows that are like a text. Likeness is in words; it is no proof that a row taught an answer."""

from pydantic import BaseModel, ConfigDict


class LikeRow(BaseModel):
    """`file` is the dataset version, `likeness` from 0 to 1: how much of the text's rare words the row has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    filename: str
    row: int
    likeness: float
    asked: str
    said: str


class LikeRows(BaseModel):
    """The likest first. `searched` of the `trained` different rows were looked at before the time was over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[LikeRow, ...]
    searched: int
    trained: int
