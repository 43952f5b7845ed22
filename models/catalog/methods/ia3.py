"""(IA)3: one learnt factor for each key, value and inner activation, and nothing else. Source: arXiv:2205.05638."""

from typing import Any

from models.catalog.methods.base import Family, Method, Rate
from models.catalog.targets import adaptable, last_name, module_names
from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import Spec

KEYS_AND_VALUES = ("k_proj", "v_proj", "key", "value", "k_lin", "v_lin")
INNER = ("down_proj", "fc2", "dense_4h_to_h", "wo", "lin2")


class Ia3Options(Spec):
    """There is nothing to choose: keys, values and the inner layer of every block (section 3.3)."""


def _scaled(shapes: Shapes) -> tuple[tuple[ModuleShape, ...], tuple[ModuleShape, ...]]:
    """Layers whose outputs are scaled, and those whose inputs are."""
    layers = adaptable(shapes)
    outputs = tuple(layer for layer in layers if last_name(layer) in KEYS_AND_VALUES)
    if not outputs:
        raise Invalid(
            "this base has no layers of its own for keys and values, which (IA)3 scales. Choose LoRA.",
            code=Code.INVALID_SETTING,
            param="method.name",
        )
    return outputs, tuple(layer for layer in layers if last_name(layer) in INNER)


def _cost(shapes: Shapes, options: Ia3Options) -> int:
    outputs, inputs = _scaled(shapes)
    return sum(layer.shape[0] for layer in outputs) + sum(layer.shape[1] for layer in inputs)


def _peft_config(shapes: Shapes, options: Ia3Options) -> dict[str, Any]:
    outputs, inputs = _scaled(shapes)
    return {
        "peft_type": "IA3",
        "task_type": "CAUSAL_LM",
        "target_modules": module_names(shapes, outputs + inputs),
        "feedforward_modules": module_names(shapes, inputs) if inputs else [],
    }


METHOD = Method(
    name="ia3",
    title="(IA)³",
    description="Scales keys, values and inner activations, one factor each: a hundredth of LoRA's weights, for small "
    "changes of manner from few rows. Served as it is, not merged.",
    is_mergeable=False,
    options=Ia3Options,
    cost=_cost,
    peft_config=_peft_config,
    family=Family.OTHER,
    rate=lambda hidden_size: Rate(value=3e-3, reason="usual for (IA)³"),
)
