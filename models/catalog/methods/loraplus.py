"""LoRA+: plain LoRA whose B learns faster than its A. Source: arXiv:2402.12354; the rates are `worker/methods`'."""

from typing import Any

from pydantic import Field

from models.catalog.lora_family import Dropping, low_rank_config, low_rank_cost
from models.catalog.methods.base import Method
from models.domain.base_model import Shapes


class LoraPlusOptions(Dropping):
    """B's learning rate is `ratio` times A's, which is the rate of the schedule."""

    ratio: float = Field(
        16,
        ge=1,
        le=1024,
        title="Rate of B over A",
        description="B, which starts at zero, learns so many times faster than A. 16 is the paper's; 1 is LoRA.",
    )


def _peft_config(shapes: Shapes, options: LoraPlusOptions) -> dict[str, Any]:
    return low_rank_config(shapes, options, dropout=options.dropout)


METHOD = Method(
    name="loraplus",
    title="LoRA+",
    description="LoRA whose second matrix learns faster: fewer steps on hard tasks, and less stable where the rate is "
    "already high. Costs what LoRA costs.",
    is_mergeable=True,
    options=LoraPlusOptions,
    cost=low_rank_cost,
    peft_config=_peft_config,
)
