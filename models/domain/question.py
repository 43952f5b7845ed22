"""Short questions to a worker of the lane `light`, with one answer within seconds: previews, columns, comparisons.

They travel as ANSWER requests do, but have one answer instead of tokens, and no row in the database.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from models.domain.chat import TreeRef
from models.domain.training import OverLong, TrainingSpec, TrainOn

ANSWER_SECONDS = 5.0  # promised; also while a training runs


class FileRef(BaseModel):
    """A stored file by scope and content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: str
    sha256: str
    filename: str = ""


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreviewRow(_Asked):
    """One row as this base would be trained on it. `prepared` are the version's prepared rows."""

    kind: Literal["preview_row"] = "preview_row"
    prepared: FileRef
    base: TreeRef
    row: int = Field(default=1, ge=1)
    jump: Literal["longest", "shortest", "over"] | None = None  # to such a row; "over": the next one after `row`
    counts: FileRef | None = None  # row by row counts of stage 3, which a jump needs
    max_length: int = Field(ge=16, le=131_072)
    over_long: OverLong = OverLong.DROP
    train_on: TrainOn = TrainOn.ASSISTANT
    template_arguments: dict[str, str | bool | int] = Field(default_factory=dict)


class ReadColumns(_Asked):
    """The columns of an uploaded file, its first rows, and what they become under a format and a mapping."""

    kind: Literal["read_columns"] = "read_columns"
    files: tuple[FileRef, ...] = Field(min_length=1)
    format: str | None = None
    mapping: dict[str, str] = Field(default_factory=dict)
    rows: int = Field(default=3, ge=1, le=20)


class CompareVersions(_Asked):
    """Rows added, removed and changed from one version's prepared rows to another's."""

    kind: Literal["compare_versions"] = "compare_versions"
    before: FileRef
    after: FileRef
    shown: int = Field(default=20, ge=0, le=100)


LONGEST_ASKED = 8000  # characters to look for


class AskLikeRows(_Asked):
    """Rows that a run trained on, by likeness to `text`. `files` and `gates` stand beside each source's `prepared`."""

    kind: Literal["like_rows"] = "like_rows"
    prepared: tuple[FileRef, ...] = Field(min_length=1)
    files: tuple[str, ...]
    gates: tuple[FileRef | None, ...]
    wish: TrainingSpec
    text: str = Field(min_length=1, max_length=LONGEST_ASKED)
    shown: int = Field(default=10, ge=1, le=50)


Asked = Annotated[PreviewRow | ReadColumns | CompareVersions | AskLikeRows, Field(discriminator="kind")]


class Question(BaseModel):
    """`question_id` names the answer's place; a worker passes over what is older than `deadline_at`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_id: str
    deadline_at: datetime
    asked: Asked


class Answered(BaseModel):
    """Either an answer, a JSON object as its kind defines, or an error as AppError writes itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
