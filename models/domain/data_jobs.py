"""What the jobs around datasets are asked to do: one frozen spec a kind, stored in the job's row."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.domain.ids import BaseId, DatasetId, FileId
from models.domain.training import TrainOn


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckDataSpec(_Spec):
    """Stage 1, intake: parse every row as the version's reading says, and write the prepared rows."""

    file: FileId


class GateDataSpec(_Spec):
    """Stage 2: duplicates, near-duplicates, personal data, over the prepared rows."""

    file: FileId


class CountTokensSpec(_Spec):
    """Stage 3: tokens of every row as this base's template writes them. `template_arguments` as in DataSpec."""

    file: FileId
    base: BaseId
    train_on: TrainOn = TrainOn.ASSISTANT
    template_arguments: dict[str, str | bool | int] = Field(default_factory=dict, max_length=16)


class Edit(_Spec):
    """Row `row` of the version becomes `example` (a JSON object as `Example` writes itself); None removes the row."""

    row: int = Field(ge=1)
    example: dict[str, Any] | None


class EditDataSpec(_Spec):
    """A new version: the rows of `file`, edited, then `appended` examples, each with who added it and when.

    `note` says to people what was done.
    """

    file: FileId
    edits: tuple[Edit, ...] = Field(default=(), max_length=1000)
    appended: tuple[dict[str, Any], ...] = Field(default=(), max_length=1000)
    note: str = Field(default="", max_length=300)


class FetchDataSpec(_Spec):
    """A dataset of the hub: id, revision (None: main), split. Becomes a dataset of that name, or its next version."""

    source: Literal["hub"] = "hub"
    reference: str = Field(max_length=200)
    revision: str | None = Field(default=None, max_length=200)
    split: str = Field(default="train", max_length=80)
    name: str = Field(max_length=255)
    dataset: DatasetId | None = None
