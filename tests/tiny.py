"""A tiny random Llama base in canonical form: speaks every text, means nothing, is built in milliseconds.

Bytes are its tokens, so any string renders; its template is ChatML with `<|im_end|>` as the end of a turn,
which is also its padding token, as in SmolLM2 (the trap that stock collators fall into). Needs no torch.
"""

import json
import struct
from pathlib import Path

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from worker.bases.canonical import write_facts, write_shapes

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
STOP_ID = SPECIAL.index("<|im_end|>")
VOCABULARY = 264  # 256 bytes, 3 special tokens, padded to a multiple of 8


def tiny_base(
    path: Path, hidden: int = 32, layers: int = 2, seed: int = 0, tied: bool = True, biased: bool = False
) -> Path:
    """Write the folder and return it. Equal arguments give equal bytes.

    `biased` makes it a Qwen2, which differs from Llama in the biases of queries, keys and values.
    """
    path.mkdir(parents=True, exist_ok=True)
    kind = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"} if biased else {}
    _write(path, "config.json", _config(hidden, layers, tied) | kind)
    _write_tokenizer(path)
    _write(path, "generation_config.json", {"bos_token_id": 1, "eos_token_id": STOP_ID, "pad_token_id": STOP_ID})
    (path / "chat_template.jinja").write_text(TEMPLATE)
    _write_weights(path / "model.safetensors", hidden, layers, seed, tied, biased)
    write_shapes(path)
    write_facts(path, licence="apache-2.0", source="test", revision=None, remark=f"tiny random base, seed {seed}")
    return path


def _config(hidden: int, layers: int, tied: bool) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": hidden * 2, "num_hidden_layers": layers, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": hidden // 4, "vocab_size": VOCABULARY,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": tied, "bos_token_id": 1, "eos_token_id": STOP_ID, "pad_token_id": STOP_ID,
        "attention_bias": False, "mlp_bias": False, "dtype": "bfloat16",
    }  # fmt: skip


def _write_tokenizer(path: Path) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *letters))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(path / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>", "unk_token": None, "clean_up_tokenization_spaces": False, "model_max_length": 512,
    }  # fmt: skip
    _write(path, "tokenizer_config.json", settings)


def _write_weights(path: Path, hidden: int, layers: int, seed: int, tied: bool, biased: bool) -> None:
    """Gaussian bf16 weights, wide enough (0.3) that the logits differ visibly from position to position."""
    wide, narrow = hidden * 2, hidden // 2
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for layer in range(layers):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (out, hidden) for name, out in
                   (("q", hidden), ("k", narrow), ("v", narrow), ("o", hidden))}  # fmt: skip
        if biased:
            shapes |= {f"{at}.self_attn.{name}_proj.bias": (out,) for name, out in
                       (("q", hidden), ("k", narrow), ("v", narrow))}  # fmt: skip
        shapes |= {f"{at}.mlp.{name}_proj.weight": (wide, hidden) for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (hidden, wide)}
        shapes |= {f"{at}.{name}.weight": (hidden,) for name in ("input_layernorm", "post_attention_layernorm")}
    shapes["model.norm.weight"] = (hidden,)
    if not tied:
        shapes["lm_head.weight"] = (VOCABULARY, hidden)
    draw = numpy.random.default_rng(seed)
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, shape in shapes.items():
        begin = len(data)
        data += _bf16(_values(draw, shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _values(draw: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.ndarray:
    values = draw.standard_normal(shape, dtype=numpy.float32) * 0.3
    return values + 1.0 if len(shape) == 1 else values


def _bf16(values: numpy.ndarray) -> bytes:
    """The upper halves of float32 words: bf16 by cutting, which is exact enough for random numbers."""
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


def _write(path: Path, name: str, content: dict) -> None:
    (path / name).write_text(json.dumps(content, indent=1, sort_keys=True))
