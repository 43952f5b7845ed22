"""PiSSA: LoRA that starts from a weight's largest singular directions. Source: arXiv:2404.02948.

The paper takes those directions out of the base. Here the base stays as it is, for everybody: a frozen second half of
the matrices, of the same size, takes them out again, so what is saved is plain LoRA of twice the rank on the pinned
base. On a quantised base the directions are those of the weights as they are held.
"""

from typing import Any

from models.catalog.lora_family import LowRank, low_rank_config, low_rank_cost, matrices_cost, ranks_of
from models.catalog.methods.base import Method
from models.catalog.targets import adapted_modules
from models.domain.base_model import Shapes
from models.domain.errors import Code, Invalid


class PissaOptions(LowRank):
    """`rank` directions learn; the adapter that is saved has twice as many."""


def _cost(shapes: Shapes, options: PissaOptions) -> int:
    """Twice LoRA's: each half is held with its gradient and moments, only one of them moves."""
    return matrices_cost(shapes, options) + low_rank_cost(shapes, options)


def _peft_config(shapes: Shapes, options: PissaOptions) -> dict[str, Any]:
    ranks = ranks_of(shapes, options)
    for module in adapted_modules(shapes, options.targets):
        if ranks[module.name] > min(module.shape):
            raise Invalid(
                f"{module.name} is {min(module.shape)} wide and has no {ranks[module.name]} singular directions. "
                f"Choose a rank of at most {min(module.shape)}, or other layers.",
                code=Code.INVALID_SETTING,
                param="method.options.rank",
            )
    return low_rank_config(shapes, options, times=2)


METHOD = Method(
    name="pissa",
    title="PiSSA",
    description="LoRA that starts from the weights' main directions instead of from nothing: learns faster at "
    "first. Saved as plain LoRA of twice the rank; takes twice LoRA's memory.",
    is_mergeable=True,
    options=PissaOptions,
    cost=_cost,
    peft_config=_peft_config,
)
