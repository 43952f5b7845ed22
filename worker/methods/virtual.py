"""Virtual tokens before a row: what a base makes of a row behind them, and what they leave in its cache.

For prefix, prompt and P-tuning as PEFT holds them. The base is read and never changed: whoever answers begins with
the cache that the virtual tokens leave, and goes on with the bare base. Knows models and tensors, nothing of training.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, PeftType, PromptLearningConfig
from safetensors.torch import load_file, save_file
from transformers import DynamicCache, PreTrainedModel

STATE = "prompt_encoder.safetensors"


def are_virtual_tokens(adapter: Path) -> bool:
    """Whether the adapter in this folder is nothing but virtual tokens."""
    kind = json.loads((adapter / "adapter_config.json").read_text())["peft_type"]
    return kind in (PeftType.PREFIX_TUNING, PeftType.PROMPT_TUNING, PeftType.P_TUNING)


def has_virtual_tokens(model: torch.nn.Module) -> bool:
    return isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning


def hidden_behind(model: PeftModel, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """The decoder's last hidden states of the rows themselves, (B, T, hidden), each behind the virtual tokens.

    Shapes: ids (B, T), attention (B, T), padded on the right. Equal to what PEFT's own forward pass gives before the
    head; with gradients to the virtual tokens.
    """
    base, count = _base(model), _config(model).num_virtual_tokens
    mask = torch.cat([attention.new_ones((len(ids), count)), attention], dim=1)  # (B, n + T)
    if model.active_peft_config.peft_type is PeftType.PREFIX_TUNING:
        found = _decoder(base)(
            input_ids=ids, attention_mask=mask, past_key_values=model.get_prompt(len(ids)), use_cache=False
        )
        return found.last_hidden_state
    embedded = cast(torch.nn.Module, base.get_input_embeddings())(ids)  # (B, T, hidden)
    vectors = model.get_prompt(len(ids)).to(embedded.dtype)  # (B, n, hidden)
    found = _decoder(base)(
        inputs_embeds=torch.cat([vectors, embedded], dim=1), attention_mask=mask, use_cache=False
    ).last_hidden_state
    return found[:, count:]


@torch.no_grad()
def cache_behind(model: PeftModel) -> DynamicCache:
    """A cache for one row in which the virtual tokens stand already: the bare base goes on from it."""
    base = _base(model)
    if model.active_peft_config.peft_type is PeftType.PREFIX_TUNING:
        return cast(DynamicCache, model.get_prompt(1))
    cache = DynamicCache(config=base.config)
    vectors = model.get_prompt(1).to(base.dtype)  # (1, n, hidden)
    _decoder(base)(inputs_embeds=vectors, past_key_values=cache, use_cache=True)
    return cache


def save_state(model: PeftModel, folder: Path) -> None:
    """All that trains, a network that writes the tokens too: PEFT saves its last words only."""
    state = {name: one.detach().cpu().contiguous() for name, one in _encoder(model).state_dict().items()}
    save_file(state, folder / STATE, metadata={"format": "pt"})


def load_state(model: PeftModel, folder: Path) -> None:
    """The very parameters stay, with other values: an optimiser may hold them."""
    _encoder(model).load_state_dict(load_file(folder / STATE))


def _encoder(model: PeftModel) -> torch.nn.Module:
    return cast(torch.nn.Module, cast(Any, model.prompt_encoder)[model.active_adapter])


def _config(model: PeftModel) -> PromptLearningConfig:
    return cast(PromptLearningConfig, model.active_peft_config)


def _base(model: PeftModel) -> PreTrainedModel:
    return cast(PreTrainedModel, model.get_base_model())


def _decoder(base: PreTrainedModel) -> Any:
    return base.get_decoder()
