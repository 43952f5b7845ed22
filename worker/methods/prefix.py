"""A prefix's first keys and values: what the base computes for tokens of its own. Source: arXiv:2101.00190, 7.4."""

from typing import Any, cast

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel

from models.catalog.methods.prefix import PrefixOptions


@torch.no_grad()
def begin(model: PeftModel, options: PrefixOptions) -> None:
    """Draw tokens from the vocabulary, read them once, and keep what stands in the cache.

    The prefix is (n, layers x 2 x heads x size): of each layer first the keys, then the values. Keys are kept as they
    are attended to, at positions 0 to n - 1, where a prefix stands.
    """
    base = cast(PreTrainedModel, model.get_base_model())
    ids = torch.randint(base.config.get_text_config().vocab_size, (1, options.tokens))
    cache = DynamicCache()  # of all layers alike: a sliding window would keep its last tokens only
    cast(Any, base.get_decoder())(input_ids=ids.to(base.device), past_key_values=cache, use_cache=True)
    read = [part for layer in cast(Any, cache).layers for part in (layer.keys, layer.values)]  # (1, heads, n, size)
    weight = cast(Any, model.prompt_encoder)["default"].embedding.weight
    weight.copy_(torch.cat([part[0].transpose(0, 1).flatten(1) for part in read], dim=1))
