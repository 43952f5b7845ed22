"""Prefix tuning: learnt keys and values before every row, in every layer. Source: arXiv:2101.00190.

They start as what the base itself computes for tokens drawn from its vocabulary (section 7.4: activations of words are
a better start than random numbers): an untrained one answers as the base does with those tokens in front.
"""

from typing import Any

from models.catalog.in_front import InFront, tokens_of
from models.catalog.methods.base import Family, Method, Rate
from models.catalog.targets import adaptable, last_name
from models.domain.base_model import Shapes
from models.domain.errors import Code, Invalid

KEYS, VALUES = ("k_proj", "key", "k_lin"), ("v_proj", "value", "v_lin")


class PrefixOptions(InFront):
    """How many; where they start is drawn by the schedule's seed."""


def _widths(shapes: Shapes) -> list[int]:
    """Of the keys and values of every layer. Raises Invalid where a layer has other ones, or none."""
    layers = adaptable(shapes)
    found = [layer.shape[0] for names in (KEYS, VALUES) for layer in layers if last_name(layer) in names]
    if len(found) != 2 * shapes.layers or len(set(found)) != 1:
        raise Invalid(
            "this base does not have keys and values of one width in every layer, which a prefix needs. Choose prompt "
            "tuning, or LoRA.",
            code=Code.INVALID_SETTING,
            param="method.name",
        )
    return found


def _cost(shapes: Shapes, options: PrefixOptions) -> int:
    return options.tokens * sum(_widths(shapes))


def _peft_config(shapes: Shapes, options: PrefixOptions) -> dict[str, Any]:
    _widths(shapes)
    return {"peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": options.tokens}


METHOD = Method(
    name="prefix",
    title="Prefix tuning",
    description="Learns keys and values that every layer sees before every row: more than a learnt prompt can say, "
    "still few weights. Takes room in the context; no gradient checkpointing; not merged.",
    is_mergeable=False,
    options=PrefixOptions,
    cost=_cost,
    peft_config=_peft_config,
    family=Family.OTHER,
    rate=lambda hidden_size: Rate(value=1e-2, reason="usual for virtual tokens"),
    in_front=tokens_of,
)
