"""The starting points of a training as data: one preset is everything the form asks for beside base and rows.

To add one, add it to PRESETS. Options left out of `method` are the catalog's defaults. What a team saved is a
`KeptPreset`; its settings are stored as `settings_of` leaves them.
"""

from typing import Any

from pydantic import Field

from models.domain.training import MethodChoice, Quantisation, ScheduleSpec, Spec, TrainingSpec


class Preset(Spec):
    """`title` is the button, `description` the sentence that says when to choose it."""

    name: str = Field(pattern=r"^[a-z_]+$")
    title: str
    description: str
    max_length: int = Field(default=2048, ge=16, title="Tokens of the longest row")
    method: MethodChoice = MethodChoice()
    quantisation: Quantisation = Quantisation.NF4
    schedule: ScheduleSpec = ScheduleSpec()


QUICK = Preset(
    name="quick",
    title="Quick",
    description="One pass over the rows with a small adapter: the shortest way to see whether the data works.",
    max_length=1024,
    method=MethodChoice(options={"rank": 8, "alpha": 16}),
    schedule=ScheduleSpec(epochs=1),
)
HOUSE = Preset(
    name="house",
    title="House default",
    description="Rank 16 on every linear layer of a 4-bit base, three epochs: right for most data.",
)
HIGH_QUALITY = Preset(
    name="high_quality",
    title="High quality",
    description="A larger adapter on the base in full precision, four epochs: takes more memory and more time.",
    method=MethodChoice(options={"rank": 32, "alpha": 64}),
    quantisation=Quantisation.NONE,
    schedule=ScheduleSpec(epochs=4),
)
SMALL_MEMORY = Preset(
    name="small_memory",
    title="Small memory",
    description="A small adapter on a 4-bit base, one row at a time, rows of up to 1,024 tokens: for a tight machine.",
    max_length=1024,
    method=MethodChoice(options={"rank": 8, "alpha": 16}),
    schedule=ScheduleSpec(micro_batch_rows=1),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in (QUICK, HOUSE, HIGH_QUALITY, SMALL_MEMORY)}

NOT_KEPT = frozenset({"base", "objective", "suffix", "start_adapter"})  # of a TrainingSpec
NOT_KEPT_OF_DATA = frozenset({"training_file", "validation_file", "validation_fraction", "rows"})


class KeptPreset(Spec):
    """A preset that somebody saved: `name` is its id, `spec` a training of nothing yet."""

    name: str
    title: str
    description: str
    spec: TrainingSpec


AnyPreset = Preset | KeptPreset


def settings_of(spec: TrainingSpec) -> dict[str, Any]:
    """What a preset keeps of a training: how, not from what base, on which rows, for which objective or as what."""
    told = spec.model_dump(mode="json", exclude=set(NOT_KEPT))
    return told | {"data": {name: value for name, value in told["data"].items() if name not in NOT_KEPT_OF_DATA}}
