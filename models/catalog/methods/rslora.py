"""rsLoRA: LoRA whose share is scaled by alpha / sqrt(rank), so that large ranks learn. Source: arXiv:2312.03732."""

from typing import Any

from pydantic import Field

from models.catalog.lora_family import Dropping, low_rank_config, low_rank_cost
from models.catalog.methods.base import Method
from models.domain.base_model import Shapes


class RsLoraOptions(Dropping):
    """The effective scale s is alpha / sqrt(rank): 8 / 4 = 2 at rank 16, as LoRA's 32 / 16."""

    alpha: float = Field(
        8,
        gt=0,
        le=4096,
        title="Alpha",
        description="How strongly the adapter speaks: its share is scaled by alpha / root of the rank. 8 at any rank "
        "speaks as LoRA does with 32 at rank 16.",
    )


def _peft_config(shapes: Shapes, options: RsLoraOptions) -> dict[str, Any]:
    return low_rank_config(shapes, options, dropout=options.dropout, is_root_scaled=True)


METHOD = Method(
    name="rslora",
    title="rsLoRA",
    description="LoRA scaled by the root of the rank: choose it for ranks of 64 and more, where LoRA stops getting "
    "better. Costs what LoRA costs.",
    is_mergeable=True,
    options=RsLoraOptions,
    cost=low_rank_cost,
    peft_config=_peft_config,
)
