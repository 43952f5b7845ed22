"""LayerNorm tuning: the norms' own weights learn, everything else stays. Source: arXiv:2312.11420."""

from typing import Any

from models.catalog.methods.base import Family, Method, Rate
from models.catalog.targets import last_name
from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import Spec


class LayerNormOptions(Spec):
    """There is nothing to choose: every norm of the base."""


def _norms(shapes: Shapes) -> tuple[ModuleShape, ...]:
    found = tuple(module for module in shapes.modules if module.kind == "norm" and "norm" in last_name(module))
    if not found:
        raise Invalid(
            "this base has no norms with weights of their own. Choose LoRA.",
            code=Code.INVALID_SETTING,
            param="method.name",
        )
    return found


def _cost(shapes: Shapes, options: LayerNormOptions) -> int:
    return sum(norm.shape[0] * (2 if norm.has_bias else 1) for norm in _norms(shapes))


def _peft_config(shapes: Shapes, options: LayerNormOptions) -> dict[str, Any]:
    return {
        "peft_type": "LN_TUNING",
        "task_type": "CAUSAL_LM",
        "target_modules": sorted(norm.name for norm in _norms(shapes)),
    }


METHOD = Method(
    name="layernorm",
    title="LayerNorm tuning",
    description="Trains only the weights of the norms: the fewest of all, for small changes of manner. Needs a base "
    "that computes in float32; served as it is, not merged.",
    is_mergeable=False,
    options=LayerNormOptions,
    cost=_cost,
    peft_config=_peft_config,
    family=Family.OTHER,
    is_float32_only=True,
    rate=lambda hidden_size: Rate(value=1e-3, reason="usual for norms"),
)
