"""LoRA: y = Wx + s·B(Ax) beside frozen weights, A and B of small rank. Source: arXiv:2106.09685."""

from typing import Any

from pydantic import Field

from models.catalog.methods.base import ALL_LINEAR, Method, adapted_modules, module_names
from models.domain.base_model import Shapes
from models.domain.training import Spec


class LoraOptions(Spec):
    """The effective scale s is alpha / rank, or alpha / sqrt(rank) with `use_rslora` (arXiv:2312.03732)."""

    rank: int = Field(
        16,
        ge=1,
        le=512,
        title="Rank",
        description="The size of the small matrices beside each layer. More can hold more, and takes more memory; 8 to "
        "32 fits most tasks.",
    )
    alpha: float = Field(
        32,
        gt=0,
        le=4096,
        title="Alpha",
        description="How strongly the adapter speaks: its share is scaled by alpha / rank. Twice the rank is usual; "
        "change both together.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        le=0.9,
        title="Dropout",
        description="The share of the adapter's input that is randomly left out in training. It can help with few rows "
        "and many epochs.",
    )
    targets: str | tuple[str, ...] = Field(
        ALL_LINEAR,
        title="Layers",
        description='Which layers get an adapter: "all-linear", or last names such as q_proj, v_proj. Fewer layers '
        "learn less and need less memory.",
    )
    use_rslora: bool = Field(
        False,
        title="Scale by the root of the rank",
        description="Scales by alpha / root of the rank instead (rsLoRA), which keeps large ranks, 64 and more, from "
        "fading.",
    )


def _cost(shapes: Shapes, options: LoraOptions) -> int:
    return sum(options.rank * sum(module.shape) for module in adapted_modules(shapes, options.targets))


def _peft_config(shapes: Shapes, options: LoraOptions) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": options.rank,
        "lora_alpha": options.alpha,
        "lora_dropout": options.dropout,
        "use_rslora": options.use_rslora,
        "bias": "none",
        "target_modules": module_names(shapes, adapted_modules(shapes, options.targets)),
    }


METHOD = Method(
    name="lora",
    title="LoRA",
    description="Small matrices beside every linear layer; on an NF4 base this is QLoRA. The usual choice.",
    is_mergeable=True,
    options=LoraOptions,
    cost=_cost,
    peft_config=_peft_config,
)
