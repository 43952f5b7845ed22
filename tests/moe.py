"""A tiny random mixture of experts in canonical form: Mixtral's architecture, the tiny base's tokenizer."""

from pathlib import Path
from typing import Any

import torch
from transformers import MixtralConfig, MixtralForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM

from tests.tiny import STOP_ID, VOCABULARY, tiny_base
from worker.bases.canonical import write_facts, write_shapes


def tiny_moe(path: Path, biased: bool = False) -> Path:
    """Two layers of four experts, two of them for each token; `biased` makes it a Qwen2-MoE."""
    tiny_base(path)
    for name in ("config.json", "model.safetensors"):
        (path / name).unlink()
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_experts_per_tok": 2, "max_position_embeddings": 512,
        "bos_token_id": 1, "eos_token_id": STOP_ID, "pad_token_id": STOP_ID, "tie_word_embeddings": False,
    }  # fmt: skip
    torch.manual_seed(0)
    if biased:
        few = {"num_experts": 4, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 48}
        model = Qwen2MoeForCausalLM(Qwen2MoeConfig(**sizes, **few))
    else:
        model = MixtralForCausalLM(MixtralConfig(**sizes, num_local_experts=4))
    model.bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)  # logits that differ from position to position
    model.save_pretrained(path)
    write_shapes(path)
    write_facts(path, licence="apache-2.0", source="test", revision=None, remark="tiny random mixture")
    return path
