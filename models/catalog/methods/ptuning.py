"""P-tuning: virtual tokens that a small network writes while it trains. Source: arXiv:2103.10385.

The network (two hidden layers here, PEFT's MLP) is left out of what is saved: its last words are the adapter. So an
adapter of it cannot be trained on.
"""

from typing import Any

from pydantic import Field

from models.catalog.in_front import InFront, tokens_of
from models.catalog.methods.base import Family, Method, Rate
from models.domain.base_model import Shapes


class PTuningOptions(InFront):
    """How many, and how wide the network is that writes them."""

    encoder_width: int | None = Field(
        None,
        ge=8,
        le=8192,
        title="Width of the encoder",
        description="The network that writes the virtual tokens is so wide inside. It is trained with them and left "
        "out of the adapter.",
        json_schema_extra={"none": "the base's width"},
    )


def _width(shapes: Shapes, options: PTuningOptions) -> int:
    return options.encoder_width or shapes.hidden_size


def _cost(shapes: Shapes, options: PTuningOptions) -> int:
    """The vectors that go in, and three linear layers with biases: in, within, out."""
    hidden, width = shapes.hidden_size, _width(shapes, options)
    return options.tokens * hidden + (hidden + 1) * width + (width + 1) * width + (width + 1) * hidden


def _peft_config(shapes: Shapes, options: PTuningOptions) -> dict[str, Any]:
    return {
        "peft_type": "P_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": options.tokens,
        "encoder_reparameterization_type": "MLP",
        "encoder_hidden_size": _width(shapes, options),
    }


METHOD = Method(
    name="ptuning",
    title="P-tuning",
    description="Prompt tuning whose tokens are written by a small network, which steadies the training and takes "
    "more memory. Saved without the network, so it cannot be trained on later; not merged.",
    is_mergeable=False,
    options=PTuningOptions,
    cost=_cost,
    peft_config=_peft_config,
    family=Family.OTHER,
    rate=lambda hidden_size: Rate(value=1e-3, reason="usual for an encoder of virtual tokens"),
    is_continuable=False,
    in_front=tokens_of,
)
