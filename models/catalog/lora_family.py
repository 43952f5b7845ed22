"""What LoRA and its kin share: options, trainable parameters, PEFT's config. Knows shapes, no tensors."""

import math
from typing import Annotated, Any

from pydantic import Field

from models.catalog.targets import ALL_LINEAR, adapted_modules, by_pattern, module_names
from models.catalog.trained_tokens import MOST, tokens_config, tokens_cost
from models.domain.base_model import ModuleShape, Shapes
from models.domain.training import Spec

MOST_RANK = 512


class LowRank(Spec):
    """The effective scale s is alpha / rank; a rank of its own for some layers leaves s as it is."""

    rank: int = Field(
        16,
        ge=1,
        le=MOST_RANK,
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
    targets: str | tuple[str, ...] = Field(
        ALL_LINEAR,
        title="Layers",
        description='Which layers get an adapter: "all-linear", "attention", "q+v", last names such as q_proj, v_proj, '
        "or patterns such as model.layers.[0-7].*. Fewer layers learn less and need less memory.",
    )
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=MOST_RANK)]] = Field(
        default_factory=dict,
        max_length=16,
        title="Ranks of single layers",
        description="Another rank for some of the layers, one a line, as down_proj = 32 or model.layers.0.* = 4. Their "
        "alpha follows, so that all speak equally loud.",
    )
    trained_tokens: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (),
        max_length=MOST,
        title="Trained tokens",
        description="Tokens that the base has never learnt, such as new ones of a template: as its tokenizer writes "
        "them, or their ids. Their embeddings are trained too, and saved in the adapter.",
    )


class Dropping(LowRank):
    """Low rank with dropout before A."""

    dropout: float = Field(
        0.0,
        ge=0,
        le=0.9,
        title="Dropout",
        description="The share of the adapter's input that is randomly left out in training. It can help with few rows "
        "and many epochs.",
    )


def ranks_of(shapes: Shapes, options: LowRank) -> dict[str, int]:
    """Full name -> rank of every adapted layer. Raises Invalid where the base has no such layer."""
    modules = adapted_modules(shapes, options.targets)
    ranks = {module.name: options.rank for module in modules}
    return ranks | by_pattern(modules, options.rank_pattern, param="method.options.rank_pattern")


def low_rank_cost(shapes: Shapes, options: LowRank) -> int:
    """rank x (in + out) of every adapted layer, and the rows of trained tokens."""
    return matrices_cost(shapes, options) + tokens_cost(shapes, options.trained_tokens)


def matrices_cost(shapes: Shapes, options: LowRank) -> int:
    """rank x (in + out) of every adapted layer."""
    ranks = ranks_of(shapes, options)
    return sum(ranks[module.name] * sum(module.shape) for module in adapted_modules(shapes, options.targets))


def low_rank_config(
    shapes: Shapes, options: LowRank, *, dropout: float = 0.0, is_root_scaled: bool = False, times: int = 1
) -> dict[str, Any]:
    """PEFT's config; `is_root_scaled` for alpha / sqrt(rank), `times` for matrices of a multiple of the rank.

    The scale is that of `rank`, whatever the multiple or a layer's own rank.
    """
    modules = adapted_modules(shapes, options.targets)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": options.rank * times,
        "lora_alpha": options.alpha * _alpha_times(times, is_root_scaled),
        "lora_dropout": dropout,
        "use_rslora": is_root_scaled,
        "bias": "none",
        "target_modules": module_names(shapes, modules),
        **tokens_config(shapes, options.trained_tokens),
    }
    own = {name: rank for name, rank in ranks_of(shapes, options).items() if rank != options.rank}
    if own:
        config["rank_pattern"] = {name: rank * times for name, rank in own.items()}
        config["alpha_pattern"] = {
            name: options.alpha * _alpha_times(rank * times / options.rank, is_root_scaled)
            for name, rank in own.items()
        }
    return config


def narrowest(modules: tuple[ModuleShape, ...]) -> int:
    """The smallest side of these layers: no rank above it means anything."""
    return min(min(module.shape) for module in modules)


def _alpha_times(ratio: float, is_root_scaled: bool) -> float:
    return math.sqrt(ratio) if is_root_scaled else ratio
