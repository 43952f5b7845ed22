"""What a PEFT method is to the form, the API and the training child: options, cost and PEFT's own config as data.

Knows shapes, never tensors. A method that PEFT's config cannot express adds `worker/methods/<name>.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from models.domain.base_model import Shapes
from models.domain.training import Spec

OptionsT = TypeVar("OptionsT", bound=Spec)


class Family(StrEnum):
    """How the form sets methods apart."""

    LORA = "LoRA and its kin"
    OTHER = "other adapters"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A learning rate to start from, and why in a few words: "by the base's width"."""

    value: float
    reason: str


def by_width(hidden_size: int) -> Rate:
    """5e-4 x (2000 / hidden size)^0.78, the rule the Tinker cookbook uses for LoRA on Llama-like models.

    A fixed 2e-4 taught a 135M model none of six facts where 1e-3 taught all.
    """
    return Rate(value=5e-4 * (2000 / hidden_size) ** 0.78, reason="by the base's width")


@dataclass(frozen=True, kw_only=True)
class Method(Generic[OptionsT]):
    """One way to train few parameters. `options` is the frozen model that form, API and job share.

    `cost` counts trainable parameters. `peft_config` gives a dict for `peft.get_peft_config`. `is_mergeable` says
    whether the result can be added into the base's own weights. `rate` is the learning rate to start from for a base
    of this hidden size. `in_front` says how many virtual tokens stand before every row, which take room in the base's
    context. `is_continuable`: what is saved is all that trained. `is_float32_only`: its weights take part in the
    base's own arithmetic, so a base that computes in bf16 cannot hold them in float32. What works on which base and
    quantisation is measured: see `models.catalog.method_facts`.
    """

    name: str
    title: str
    description: str
    is_mergeable: bool
    options: type[OptionsT]
    cost: Callable[[Shapes, OptionsT], int]
    peft_config: Callable[[Shapes, OptionsT], dict[str, Any]]
    family: Family = Family.LORA
    is_float32_only: bool = False
    is_continuable: bool = True
    in_front: Callable[[OptionsT], int] = lambda options: 0
    rate: Callable[[int], Rate] = by_width
