"""DoRA: LoRA for the direction of each weight row, and a trained length beside it. Source: arXiv:2402.09353."""

from typing import Any

from models.catalog.lora_family import Dropping, low_rank_config, low_rank_cost
from models.catalog.methods.base import Method
from models.catalog.targets import adapted_modules
from models.domain.base_model import Shapes


class DoraOptions(Dropping):
    """As LoRA's: the effective scale s is alpha / rank."""


def _cost(shapes: Shapes, options: DoraOptions) -> int:
    """LoRA's, and one length for each row of each adapted weight."""
    lengths = sum(module.shape[0] for module in adapted_modules(shapes, options.targets))
    return low_rank_cost(shapes, options) + lengths


def _peft_config(shapes: Shapes, options: DoraOptions) -> dict[str, Any]:
    return low_rank_config(shapes, options, dropout=options.dropout) | {"use_dora": True}


METHOD = Method(
    name="dora",
    title="DoRA",
    description="LoRA that also trains each weight row's length: often a little better at small ranks. It forms every "
    "weight anew in each step, so it is slower and takes more memory than LoRA.",
    is_mergeable=True,
    options=DoraOptions,
    cost=_cost,
    peft_config=_peft_config,
)
