"""A fine-tune as data: which base, which rows, which method, which schedule. Frozen, every field bounded."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.domain.ids import BaseId, FileId


class Spec(BaseModel):
    """Root of every spec: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantisation(StrEnum):
    """How the frozen base is held while it is trained and served."""

    NONE = "none"
    NF4 = "nf4"  # 4-bit NormalFloat with double quantisation (arXiv:2305.14314)


class OverLong(StrEnum):
    """What happens to a row longer than `max_length` tokens. An answer is never cut."""

    DROP = "drop"
    DROP_OLDEST_TURNS = "drop_oldest_turns"


class TrainOn(StrEnum):
    """Which assistant turns carry loss."""

    ASSISTANT = "assistant"
    LAST_TURN = "last_turn"


class DataSpec(Spec):
    """Which rows, and how they become tokens."""

    training_file: FileId
    validation_file: FileId | None = None
    validation_fraction: float = Field(default=0.05, ge=0, le=0.5, title="Validation share of the rows, split by group")
    max_length: int = Field(default=2048, ge=16, le=131_072, title="Longest row, tokens")
    over_long: OverLong = OverLong.DROP
    train_on: TrainOn = TrainOn.ASSISTANT
    template_arguments: dict[str, str | bool | int] = Field(default_factory=dict, max_length=16)


class MethodChoice(Spec):
    """One entry of `models.catalog.methods` by name, with its options; the catalog checks them."""

    name: str = "lora"
    options: dict[str, Any] = Field(default_factory=dict, max_length=12)


class ScheduleSpec(Spec):
    """How long and how fast. `learning_rate=None` takes the width rule of `models.domain.estimate`."""

    epochs: int = Field(default=3, ge=1, le=50)
    batch_rows: int = Field(default=8, ge=1, le=256, title="Rows per optimiser step")
    micro_batch_rows: int | None = Field(default=None, ge=1, le=256, title="Rows per forward pass; None: as fits")
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    learning_rate_multiplier: float = Field(default=1.0, gt=0, le=100)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(
        default=0.05, ge=0, le=0.5, title="Share of the steps spent warming up; at least one step"
    )
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    max_grad_norm: float = Field(default=1.0, gt=0, le=1000)
    evaluate_every: int | None = Field(default=None, ge=1, title="Steps between evaluations; None: once an epoch")
    save_every: int | None = Field(default=None, ge=1, title="Steps between checkpoints; None: once an epoch")
    seed: int = Field(default=3407, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> "ScheduleSpec":
        if self.micro_batch_rows is not None and self.micro_batch_rows > self.batch_rows:
            raise ValueError(
                f"micro_batch_rows is {self.micro_batch_rows} but batch_rows is {self.batch_rows}; "
                "a forward pass cannot hold more rows than the step. Lower micro_batch_rows."
            )
        return self


class TrainingSpec(Spec):
    """The whole wish of one training job, as stored in its row and copied to the job directory."""

    base: BaseId
    data: DataSpec
    method: MethodChoice = MethodChoice()
    quantisation: Quantisation = Quantisation.NF4
    schedule: ScheduleSpec = ScheduleSpec()
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
