"""Bias-only tuning (BitFit): the biases that the base's linear layers have learn, and nothing else.

Source: arXiv:2106.10199. The base's own biases stay: what is trained is added to them. It is saved as a LoRA of rank 1
whose matrices are zero and whose second one has a bias, which PEFT loads anywhere.
"""

from typing import Any

from models.catalog.methods.base import Family, Method, Rate
from models.catalog.targets import adaptable, module_names
from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import Spec


class BiasOptions(Spec):
    """There is nothing to choose: every bias of a linear layer."""


def _biased(shapes: Shapes) -> tuple[ModuleShape, ...]:
    found = tuple(layer for layer in adaptable(shapes) if layer.has_bias)
    if not found:
        raise Invalid(
            "the linear layers of this base have no biases, as those of most bases since Llama, so nothing would be "
            "trained. Choose LoRA, or LayerNorm tuning where few weights are wanted.",
            code=Code.INVALID_SETTING,
            param="method.name",
        )
    return found


def _cost(shapes: Shapes, options: BiasOptions) -> int:
    return sum(layer.shape[0] for layer in _biased(shapes))


def _peft_config(shapes: Shapes, options: BiasOptions) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 1,
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "bias": "none",
        "lora_bias": True,
        "target_modules": module_names(shapes, _biased(shapes)),
    }


METHOD = Method(
    name="bias",
    title="Bias-only",
    description="Trains only the biases of the base's linear layers, for small changes of manner. Most bases since "
    "Llama have none; Qwen2 and GPT-NeoX have. Served as it is, not merged.",
    is_mergeable=False,
    options=BiasOptions,
    cost=_cost,
    peft_config=_peft_config,
    family=Family.OTHER,
    rate=lambda hidden_size: Rate(value=1e-3, reason="usual for biases"),
)
