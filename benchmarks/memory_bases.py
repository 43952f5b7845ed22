"""Random bases of chosen shapes for benchmarks/memory.py: bytes are their tokens, their weights mean nothing.

Memory is a matter of shapes, so a base that could never be downloaded in a benchmark is made up in a second. The
files are what an import leaves. Needs torch and transformers.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig, PretrainedConfig, Qwen3Config

from benchmarks.train import bundled_base
from tests.tiny import STOP_ID, tiny_base
from worker.bases.canonical import write_facts, write_shapes

CONTEXT = 4096


def write_base(folder: Path, name: str) -> Path:
    """The base called `name` of BASES. Equal names give equal bytes."""
    return BASES[name](folder)


def _random(
    folder: Path, kind: type[PretrainedConfig], *, hidden: int, layers: int, inner: int, heads: int, keys: int,
    vocabulary: int = 264, tied: bool = True, **more: int,
) -> Path:  # fmt: skip
    """Gaussian weights in bf16, in the architecture of `kind`."""
    tiny_base(folder)  # the tokenizer and the template
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    torch.manual_seed(0)
    config = kind(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=keys, head_dim=hidden // heads, tie_word_embeddings=tied,
        max_position_embeddings=CONTEXT, bos_token_id=1, eos_token_id=STOP_ID, pad_token_id=STOP_ID, **more,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    write_shapes(folder)
    write_facts(folder, licence="apache-2.0", source="benchmark", revision=None, remark="random weights")
    return folder


_llama, _qwen3 = partial(_random, kind=LlamaConfig), partial(_random, kind=Qwen3Config)

BASES: dict[str, Callable[[Path], Path]] = {
    "smollm2": lambda folder: bundled_base(folder),
    # Llama of other proportions: narrow and deep, wide and shallow, one key head for eight, all heads their own.
    "deep": partial(_llama, hidden=192, layers=20, inner=512, heads=4, keys=2),
    "wide": partial(_llama, hidden=768, layers=3, inner=3072, heads=12, keys=4),
    "square": partial(_llama, hidden=384, layers=6, inner=1024, heads=6, keys=6),
    "one-key": partial(_llama, hidden=512, layers=4, inner=1376, heads=8, keys=1),
    "thin-inner": partial(_llama, hidden=448, layers=6, inner=896, heads=7, keys=7),
    # Large vocabularies: tied, and with a head of its own.
    "large-head": partial(_llama, hidden=256, layers=4, inner=704, heads=4, keys=2, vocabulary=128_256),
    "own-head": partial(_llama, hidden=320, layers=5, inner=864, heads=5, keys=5, vocabulary=65_536, tied=False),
    # Norms on queries and keys; experts.
    "qwen3": partial(_qwen3, hidden=384, layers=5, inner=1152, heads=6, keys=3, vocabulary=32_768),
    "experts": partial(
        _random, kind=MixtralConfig, hidden=192, layers=4, inner=384, heads=4, keys=2, tied=False, num_local_experts=8,
        num_experts_per_tok=2,
    ),
}  # fmt: skip
