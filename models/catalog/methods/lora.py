"""LoRA: y = Wx + s·B(Ax) beside frozen weights, A and B of small rank. Source: arXiv:2106.09685."""

from typing import Any

from pydantic import Field

from models.catalog.lora_family import Dropping, low_rank_config, low_rank_cost
from models.catalog.methods.base import Method
from models.domain.base_model import Shapes


class LoraOptions(Dropping):
    """The effective scale s is alpha / rank, or alpha / sqrt(rank) with `use_rslora` (arXiv:2312.03732)."""

    use_rslora: bool = Field(
        False,
        title="Scale by the root of the rank",
        description="Scales by alpha / root of the rank instead (rsLoRA), which keeps large ranks, 64 and more, from "
        "fading.",
    )


def _peft_config(shapes: Shapes, options: LoraOptions) -> dict[str, Any]:
    return low_rank_config(shapes, options, dropout=options.dropout, is_root_scaled=options.use_rslora)


METHOD = Method(
    name="lora",
    title="LoRA",
    description="Small matrices beside every linear layer; on an NF4 base this is QLoRA. The usual choice.",
    is_mergeable=True,
    options=LoraOptions,
    cost=low_rank_cost,
    peft_config=_peft_config,
)
