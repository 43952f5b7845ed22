"""Rebuilds a plain bf16 model from one GGUF file. Its weights stay what the file's quantisation left of them."""

import json
from pathlib import Path
from typing import cast

import gguf
import torch
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from models.domain.errors import Code, Invalid
from worker.bases.found import Found
from worker.bases.parsed_once import parsed_once

# transformers 5.23 gives every gpt2-style vocabulary the plain byte-level split; "smollm" also splits each digit
# from its neighbours, which changes runs of spaces before a number. Source: llama.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM.
_SPLITS_DIGITS = frozenset({"smollm"})

# What the save leaves behind of the machine that made it.
_TRACES = {
    "config.json": ("_model_name_or_path", "_name_or_path"),
    "generation_config.json": ("_from_model_config",),
    "tokenizer_config.json": ("is_local", "local_files_only", "name_or_path"),
}


def from_gguf(path: Path, out: Path) -> Found:
    """Write config, weights, tokenizer, template and generation settings to `out`."""
    with parsed_once():
        return _convert(path, out)


def _convert(path: Path, out: Path) -> Found:
    metadata = _metadata(path)
    if not metadata.get("tokenizer.ggml.model"):
        raise Invalid(
            "this GGUF file holds no tokenizer; a complete language model is needed. Choose another file.",
            code=Code.INVALID_BASE,
        )
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.bfloat16, output_loading_info=True,
            quantization_config=GgufConfig(dequantize=True),
        )  # fmt: skip
        model, loading = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (ValueError, KeyError, NotImplementedError, ImportError, OSError) as error:
        raise Invalid(
            f"a GGUF file of the architecture {metadata.get('general.architecture', 'unknown')!s} cannot be "
            "converted here. Import the original model in safetensors form instead.",
            code=Code.INVALID_BASE,
        ) from error
    _check_whole(model, loading["missing_keys"])
    title = f"{metadata.get('general.name') or path.stem} (from {_precision(metadata)})"
    _plain(model).save_pretrained(out, max_shard_size="4GB")
    tokenizer.save_pretrained(out)
    for name, unwanted in _TRACES.items():
        _drop(out / name, unwanted)
    if metadata.get("tokenizer.ggml.pre") in _SPLITS_DIGITS:
        _split_digits(out / "tokenizer.json")
    return Found(licence=metadata.get("general.license"), title=title, remark=f"rebuilt from {_precision(metadata)}")


def _metadata(path: Path) -> dict[str, str]:
    """The file's short entries as text; the vocabulary's long arrays are left alone."""
    try:
        fields = gguf.GGUFReader(path).fields
    except (ValueError, OSError, IndexError) as error:
        raise Invalid(
            f"{path.name} is not a readable GGUF file; it may be cut off. Get the file again.", code=Code.INVALID_BASE
        ) from error
    return {
        name: str(field.contents()) for name, field in fields.items() if field.types[:1] != [gguf.GGUFValueType.ARRAY]
    }


def _precision(metadata: dict[str, str]) -> str:
    """Q4_1, F16 ... as people name GGUF files."""
    kind = metadata.get("general.file_type")
    return gguf.LlamaFileType(int(kind)).name.removeprefix("MOSTLY_").removeprefix("ALL_") if kind else "GGUF"


def _check_whole(model: PreTrainedModel, missing: set[str]) -> None:
    """transformers fills what a file lacks with random numbers and only logs it."""
    lacking = sorted(missing - ({"lm_head.weight"} if model.config.tie_word_embeddings else set()))
    if lacking:
        raise Invalid(
            f"this GGUF file lacks {len(lacking)} weights of its architecture, first {lacking[0]}. Get the whole file.",
            code=Code.INVALID_BASE,
        )


def _plain(loaded: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that does not think it is quantised, which save_pretrained would refuse."""
    config = loaded.config
    config.__dict__.pop("quantization_config", None)
    config._name_or_path = ""
    config.architectures = [type(loaded).__name__]
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    weights = loaded.state_dict()
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    plain.load_state_dict(weights, strict=False, assign=True)
    plain.tie_weights()
    plain.generation_config = loaded.generation_config
    return plain


def _drop(path: Path, names: tuple[str, ...]) -> None:
    content = {name: value for name, value in json.loads(path.read_text()).items() if name not in names}
    path.write_text(json.dumps(content, indent=1, sort_keys=True))


def _split_digits(path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save(str(path))
