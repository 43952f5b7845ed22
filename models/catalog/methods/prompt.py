"""Prompt tuning: learnt vectors before every row, where words' embeddings would stand. Source: arXiv:2104.08691.

They start as the embeddings of tokens drawn from the vocabulary (section 3.2, "sampled vocabulary"): an untrained one
answers as the base does with those tokens in front, not as the bare base.
"""

from typing import Any

from models.catalog.in_front import InFront, tokens_of
from models.catalog.methods.base import Family, Method, Rate
from models.domain.base_model import Shapes


class PromptOptions(InFront):
    """How many; where they start is drawn by the schedule's seed."""


def _cost(shapes: Shapes, options: PromptOptions) -> int:
    return options.tokens * shapes.hidden_size


def _peft_config(shapes: Shapes, options: PromptOptions) -> dict[str, Any]:
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": options.tokens,
        "prompt_tuning_init": "SAMPLE_VOCAB",
    }


METHOD = Method(
    name="prompt",
    title="Prompt tuning",
    description="Learns a prompt that is no words and stands before every row: the smallest adapter, for one narrow "
    "task on a large base; small bases learn little from it. Takes room in the context; not merged.",
    is_mergeable=False,
    options=PromptOptions,
    cost=_cost,
    peft_config=_peft_config,
    family=Family.OTHER,
    rate=lambda hidden_size: Rate(value=1e-2, reason="usual for virtual tokens"),
    in_front=tokens_of,
)
