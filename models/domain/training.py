"""A fine-tune as data: which base, which rows, which method, which schedule. Frozen, every field bounded."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.domain.ids import AdapterId, BaseId, FileId
from models.domain.objectives import ObjectiveSpec


class Spec(BaseModel):
    """Root of every spec: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantisation(StrEnum):
    """How the frozen base is held while it is trained and served."""

    NONE = "none"
    INT8 = "int8"  # 8-bit codes and a scale for each row (arXiv:2208.07339); the inputs are not rounded
    NF4 = "nf4"  # 4-bit NormalFloat with double quantisation (arXiv:2305.14314)
    NF4_PLAIN = "nf4plain"  # NF4 whose scales stay float32

    @property
    def words(self) -> str:
        """For people, after "in": "full precision", "NF4"."""
        return {"none": "full precision", "int8": "int8", "nf4": "NF4", "nf4plain": "NF4 with plain scales"}[self]


class OverLong(StrEnum):
    """What happens to a row longer than `max_length` tokens. An answer is never cut."""

    DROP = "drop"
    DROP_OLDEST_TURNS = "drop_oldest_turns"
    SPLIT_TEXT = "split_text"  # plain texts in pieces of max_length; conversations as with DROP


class TrainOn(StrEnum):
    """Which turns of a conversation carry loss."""

    ASSISTANT = "assistant"
    LAST_TURN = "last_turn"
    ALL = "all"  # every token after the first, the questions too; a turn of weight 0 still carries none


class BadRows(StrEnum):
    """What happens to rows that cannot be used: not understood, or not to be written by this base's template."""

    DROP = "drop"
    STOP = "stop"


class KeptTogether(StrEnum):
    """Which rows stay on one side of the split between training and validation."""

    QUESTION = "question"  # the same first question, without case, punctuation and spacing
    NEAR_DUPLICATES = "near_duplicates"  # that, and rows the gate found nearly equal
    COLUMN = "column"  # rows with the same value in a chosen column


class MixedFile(Spec):
    """One more dataset version in the mix. `weight` scales how often its rows are seen: 0.5 half of them, 2 twice."""

    file: FileId
    weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Weight",
        description="How often its rows are seen in one epoch: 0.5 half of them, 2 every row twice.",
    )


class RowsSpec(Spec):
    """Which rows are taken, from where, and in which order."""

    bad_rows: BadRows = Field(
        default=BadRows.DROP,
        title="Rows that cannot be used",
        description="Leave them out, which the run says with their number, or stop before anything is trained.",
        json_schema_extra={"words": {"drop": "leave out", "stop": "stop the run"}},
    )
    drop_duplicates: bool = Field(
        default=False,
        title="Leave out duplicates",
        description="Of rows that say exactly the same, only the first is trained on.",
    )
    most_rows: int | None = Field(
        default=None,
        ge=10,
        title="Most rows",
        description="Take so many rows of the first dataset at most, drawn by the shuffle seed.",
        json_schema_extra={"none": "all"},
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Weight of the first dataset",
        description="How often its rows are seen in one epoch: 0.5 half of them, 2 every row twice.",
    )
    mixed: tuple[MixedFile, ...] = Field(default=(), max_length=8)
    kept_together: KeptTogether = Field(
        default=KeptTogether.QUESTION,
        title="Rows that stay together",
        description="Rows alike never stand on both sides of the validation split: it would measure memory.",
        json_schema_extra={
            "words": {
                "question": "the same question",
                "near_duplicates": "nearly the same",
                "column": "a column's value",
            }
        },
    )
    column: str | None = Field(
        default=None,
        max_length=200,
        title="Column",
        description="Rows with the same value in this column stay on one side.",
        json_schema_extra={"none": "none"},
    )
    split_seed: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        title="Seed of the split",
        description="Fixes which rows are held back. Left empty it is the schedule's seed.",
        json_schema_extra={"none": "the run's seed"},
    )
    shuffle_seed: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        title="Seed of the shuffle",
        description="Fixes the order of the rows and which are drawn. Left empty it is the schedule's seed.",
        json_schema_extra={"none": "the run's seed"},
    )

    @model_validator(mode="after")
    def _column_is_named(self) -> "RowsSpec":
        if (self.kept_together is KeptTogether.COLUMN) != (self.column is not None):
            raise ValueError(
                "column names the column whose rows stay together, and is given exactly where kept_together is "
                '"column". Give both or neither.'
            )
        return self


class DataSpec(Spec):
    """Which rows, and how they become tokens. Titles and descriptions are what the form shows."""

    training_file: FileId
    validation_file: FileId | None = None
    validation_fraction: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        title="Share held back",
        description="This share of the rows is never trained on; the loss on it shows whether the model learns or only "
        "memorises. Rows with the same first question stay together.",
        json_schema_extra={"unit": "%"},
    )
    max_length: int = Field(
        default=2048,
        ge=16,
        le=131_072,
        title="Longest row, tokens",
        description="A token is about three quarters of a word. Memory grows with this length, also when few rows "
        "reach it.",
    )
    over_long: OverLong = Field(
        default=OverLong.DROP,
        title="Rows that are longer",
        description="Leave the row out, or leave out its oldest turns until it fits. An answer is never cut in the "
        "middle: that would teach the model to stop anywhere.",
        json_schema_extra={
            "words": {
                "drop": "leave out",
                "drop_oldest_turns": "drop the oldest turns",
                "split_text": "cut plain texts into pieces",
            }
        },
    )
    train_on: TrainOn = Field(
        default=TrainOn.ASSISTANT,
        title="Learn from",
        description="The loss mask: which turns the model is taught to write. Questions are read, never learnt, "
        "unless it learns from the whole conversation.",
        json_schema_extra={
            "words": {
                "assistant": "every answer",
                "last_turn": "the last answer only",
                "all": "the whole conversation, questions too",
            }
        },
    )
    rows: RowsSpec = RowsSpec()
    sample_rows: int = Field(
        default=1,
        ge=0,
        le=4,
        title="Sample questions",
        description="So many held-out questions are answered at every evaluation, so that one reads how the model "
        "changes. 0 takes no samples. What is learnt is the same either way.",
    )
    sample_tokens: int = Field(
        default=48,
        ge=1,
        le=256,
        title="Longest sample, tokens",
        description="A sample that has not come to its end by then is cut. Longer ones take time from the training.",
    )
    template_arguments: dict[str, str | bool | int] = Field(
        default_factory=dict,
        max_length=16,
        title="Chat template arguments",
        description="Switches that some chat templates take, one a line, as enable_thinking = false. Most need none.",
    )


class MethodChoice(Spec):
    """One entry of `models.catalog.methods` by name, with its options; the catalog checks them."""

    name: str = "lora"
    options: dict[str, Any] = Field(default_factory=dict, max_length=12)


class Optimiser(StrEnum):
    """What turns gradients into steps: AdamW (arXiv:1711.05101), with moments of 8 bits (arXiv:2110.02861) or paged."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw_8bit"
    PAGED_ADAMW_8BIT = "paged_adamw_8bit"


def optimiser_refusal(optimiser: Optimiser, device: str) -> str | None:
    """Why it cannot run on `device` ("cpu", "cuda:0"); None where it can. The 8-bit kernels are CUDA's."""
    if optimiser is Optimiser.ADAMW or device.startswith("cuda"):
        return None
    return f'the optimiser "{optimiser}" needs a GPU and this training would run on {device}. Choose "adamw".'


class ScheduleSpec(Spec):
    """How long and how fast. `learning_rate=None` takes the width rule of `models.domain.estimate`.

    `steps` replaces `epochs`, and `batch_tokens` replaces `batch_rows`, where they are given.
    """

    epochs: int = Field(
        default=3,
        ge=1,
        le=50,
        title="Epochs",
        description="How often every row is seen. Few rows need more of them; over ten tend to be learnt by heart.",
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        title="Optimiser steps",
        description="Train exactly so many steps, whatever the epochs say: rows are seen again, in another order, "
        "until they are done.",
        json_schema_extra={"none": "by epochs"},
    )
    batch_rows: int = Field(
        default=8,
        ge=1,
        le=256,
        title="Rows per optimiser step",
        description="The weights move once per this many rows. Smaller batches make more and noisier steps.",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=16,
        le=10_000_000,
        title="Tokens per optimiser step",
        description="Steps of about so many tokens, in whole rows, instead of a number of rows: steady steps where "
        "rows differ much in length.",
        json_schema_extra={"none": "by rows"},
    )
    micro_batch_rows: int | None = Field(
        default=None,
        ge=1,
        le=256,
        title="Rows per forward pass",
        description="How many rows are computed at once. Lower it to save memory; the result stays the same.",
        json_schema_extra={"none": "as many as fit"},
    )
    gradient_checkpointing: bool = Field(
        default=False,
        title="Compute activations twice",
        description="Gradient checkpointing: what a layer computed is forgotten, and computed again when it is needed. "
        "Takes far less memory and more time; the result stays the same.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Learning rate",
        description="How far each step moves the adapter. Left empty it follows the base's width, as small models need "
        "larger ones; plain texts, preferences and other adapters have rates of their own.",
        json_schema_extra={"none": "as recommended"},
    )
    learning_rate_multiplier: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Learning rate multiplier",
        description="Scales the rate above, whether given or by width. 0.5 is more careful, 2 is bolder.",
    )
    scheduler: Literal["cosine", "linear", "constant"] = Field(
        default="cosine",
        title="Course of the rate",
        description="How the learning rate falls after the warm-up. Cosine stays high for longer and ends gently.",
    )
    warmup_ratio: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        title="Warm-up share",
        description="The share of the steps in which the rate rises from near zero; at least one step.",
        json_schema_extra={"unit": "%"},
    )
    optimiser: Optimiser = Field(
        default=Optimiser.ADAMW,
        title="Optimiser",
        description="The 8-bit ones keep less memory beside each trained weight, paged also lends the host's. They "
        "need a GPU.",
        json_schema_extra={
            "words": {"adamw": "AdamW", "adamw_8bit": "AdamW, 8-bit", "paged_adamw_8bit": "AdamW, 8-bit and paged"}
        },
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Weight decay",
        description="Pulls the adapter's weights towards zero at every step. Rarely needed for small adapters.",
    )
    max_grad_norm: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        title="Gradient clip",
        description="A gradient longer than this is shortened to it, so that one odd batch cannot throw the run off.",
    )
    evaluate_every: int | None = Field(
        default=None,
        ge=1,
        title="Steps between evaluations",
        description="How often the validation rows are measured. Every evaluation takes time from the training.",
        json_schema_extra={"none": "once an epoch"},
    )
    early_stopping: bool = Field(
        default=False,
        title="Stop early",
        description="End the run once three evaluations in a row brought no improvement beyond chance. Needs at least "
        "30 validation rows.",
    )
    keep_best: bool = Field(
        default=False,
        title="Keep the best",
        description="Publish the adapter as it was at its lowest validation loss, instead of the last one.",
    )
    save_every: int | None = Field(
        default=None,
        ge=1,
        title="Steps between checkpoints",
        description="A run that is interrupted goes on from its last checkpoint. More of them take more disk.",
        json_schema_extra={"none": "once an epoch"},
    )
    seed: int = Field(
        default=3407,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Fixes the order of the rows and the first random weights: equal seeds repeat a run exactly on "
        "the same machine.",
    )

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> "ScheduleSpec":
        if self.batch_tokens is None and self.micro_batch_rows is not None and self.micro_batch_rows > self.batch_rows:
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
    quantisation: Quantisation = Field(
        default=Quantisation.NF4,
        title="Base model in memory",
        description="NF4 holds the frozen base in 4 bits, int8 in 8: less memory for nearly the same result. Only "
        "the small adapter is trained, always in full precision.",
        json_schema_extra={
            "words": {
                "nf4": "4-bit (NF4)",
                "none": "full precision",
                "int8": "8-bit (int8)",
                "nf4plain": "4-bit (NF4), scales not quantised",
            }
        },
    )
    schedule: ScheduleSpec = ScheduleSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    start_adapter: AdapterId | None = Field(
        default=None,
        max_length=255,
        title="Continue from adapter",
        description="The id of an adapter of this base to begin with instead of a fresh one: it keeps what it has "
        "learnt and learns these rows as well. Method, rank, alpha and layers must be the adapter's own.",
        json_schema_extra={"none": "a fresh one"},
    )
