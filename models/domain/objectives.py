"""What a training minimises, as data: its options, the rows it needs, and what is said where a dataset holds others."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Objective(StrEnum):
    SUPERVISED = "supervised"  # the likelihood of answers, or of texts (continued pre-training)
    DPO = "dpo"  # arXiv:2305.18290
    KTO = "kto"  # arXiv:2402.01306


class ObjectiveSpec(BaseModel):
    """The objective with its options; those of another objective are never looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Objective = Field(
        default=Objective.SUPERVISED,
        title="Training objective",
        description="Supervised learns to write the answers. DPO learns to prefer one answer of two, KTO from single "
        "answers judged good or bad; both start from a model that can already answer.",
        json_schema_extra={
            "words": {
                "supervised": "supervised: write these answers",
                "dpo": "DPO: prefer one answer of two",
                "kto": "KTO: more of the good, less of the bad",
            }
        },
    )
    beta: float = Field(
        default=0.1,
        gt=0,
        le=2,
        title="Beta",
        description="How closely the model stays to the one it started from. Larger values hold it closer.",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        title="Label smoothing",
        description="The share of pairs that may be the wrong way round. 0 takes every pair at its word.",
    )
    desirable_weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Weight of good answers",
        description="Good answers count so much. With few of them, raise it until weight times number is alike.",
    )
    undesirable_weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Weight of bad answers",
        description="Bad answers count so much. With few of them, raise it until weight times number is alike.",
    )


OPTIONS_OF = {
    Objective.SUPERVISED: (),
    Objective.DPO: ("beta", "label_smoothing"),
    Objective.KTO: ("beta", "desirable_weight", "undesirable_weight"),
}
KINDS_OF = {
    Objective.SUPERVISED: ("conversation", "text"),
    Objective.DPO: ("preference",),
    Objective.KTO: ("labelled",),
}
SEQUENCES_OF = {Objective.SUPERVISED: 1, Objective.DPO: 2, Objective.KTO: 1}  # that a row carries loss in
RATE_OF = {Objective.DPO: 5e-6, Objective.KTO: 5e-6}  # on LoRA; others go by the base's width
KIND_WORDS = {
    "conversation": "conversations", "text": "texts", "preference": "preference pairs", "labelled": "labelled answers",
}  # fmt: skip
_NEEDS = {
    Objective.SUPERVISED: "a supervised run needs conversations or texts",
    Objective.DPO: "DPO needs preference pairs",
    Objective.KTO: "KTO needs labelled answers",
}
_CURES = {"conversation": "Supervised", "text": "Supervised", "preference": "DPO", "labelled": "KTO"}


def hold_only_texts(sources: Sequence[Mapping[str, int]]) -> bool:
    """Whether a supervised run on these datasets learns from plain texts alone, by the rows of each kind in each; False
    where one of them is not known."""
    return bool(sources) and all(kinds.get("text") and not kinds.get("conversation") for kinds in sources)


def misfit(kinds: Mapping[str, int], objective: Objective) -> str | None:
    """Why no row of a dataset fits the objective, by its rows of each kind; None where some do or none are known.

    Reads on after the dataset's name: "holds preference pairs; a supervised run needs ...".
    """
    if any(kinds.get(kind) for kind in KINDS_OF[objective]):
        return None
    held = next((kind for kind in KIND_WORDS if kinds.get(kind)), None)
    if held is None:
        return None
    return f"holds {KIND_WORDS[held]}; {_NEEDS[objective]}. Choose another dataset, or {_CURES[held]} as the objective."
