"""Brings a base folder, quantised or not, and an adapter into memory. Knows files and devices, not jobs.

A canonical base folder holds config.json, safetensors, tokenizer.json, tokenizer_config.json,
generation_config.json, chat_template.jinja where there is one, shapes.json and facts.json
(`models.domain.base_model`). Loading never reaches a network, never runs a checkpoint's code, never unpickles.
"""

import json
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from models.domain.adapter import AdapterManifest
from models.domain.base_model import BaseFacts
from models.domain.errors import AppError, Code, JobFailed
from models.domain.training import Quantisation
from worker.device import DeviceFacts
from worker.four_bit import pack_quickly
from worker.jobdir import sha256_of
from worker.methods.lora import fuse
from worker.quantised import Quantised, dense_weight, multiply_by_weights_alone

MANIFEST = "manifest.json"
WEIGHTS = "adapter_model.safetensors"


def load_base(base_dir: Path, quantisation: Quantisation, facts: DeviceFacts, dtype: torch.dtype) -> PreTrainedModel:
    """The frozen base on its device, in eval mode: weights in `dtype`, or quantised ones computing in `dtype`.

    The input and output embeddings and the norms are never quantised.
    """
    options: dict[str, Any] = {}
    if quantisation is not Quantisation.NONE:
        options["quantization_config"] = _packing(quantisation, dtype)
    pack_quickly()
    return _loaded(base_dir, facts, dtype, options)


def load_packed(folder: Path, facts: DeviceFacts, dtype: torch.dtype) -> PreTrainedModel:
    """What `load_base` gave for a quantised base and `save_pretrained` wrote: the same weights, not packed again."""
    return _loaded(folder, facts, dtype, {})


def _loaded(folder: Path, facts: DeviceFacts, dtype: torch.dtype, options: dict[str, Any]) -> PreTrainedModel:
    refusals = _refused_allocations(facts)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map={"": facts.name}, local_files_only=True, trust_remote_code=False,
            use_safetensors=True, attn_implementation="sdpa", **options,
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise JobFailed(
            "the base model cannot be loaded: its config or weights do not fit together. Import the base again.",
            code=Code.INVALID_BASE,
        ) from error
    except RuntimeError as error:
        # transformers 5 logs what fails while it quantises and says only that something did: no OutOfMemoryError.
        if _refused_allocations(facts) > refusals:
            raise torch.OutOfMemoryError(f"the base does not fit on {facts.name}") from error
        raise
    for module in model.modules():
        if isinstance(module, Linear4bit):
            # On CPUs with avx512_bf16 the first eval pass would repack the weight for a bf16 kernel, round its
            # scales to bf16 for good, and serve other numbers than were trained (bitsandbytes 0.50).
            module.support_avx512bf16_for_cpu = False
        elif isinstance(module, Linear8bitLt):
            multiply_by_weights_alone(module)
    return model.eval().requires_grad_(False)


def _packing(quantisation: Quantisation, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quantisation is Quantisation.INT8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quantisation is Quantisation.NF4,
        bnb_4bit_compute_dtype=dtype,
    )


def _refused_allocations(facts: DeviceFacts) -> int:
    """How often the device had no room for this process, or the process's cap had none."""
    return 0 if facts.name == "cpu" else torch.cuda.memory_stats(facts.name).get("num_ooms", 0)


def load_dequantised(
    base_dir: Path, facts: DeviceFacts, dtype: torch.dtype, quantisation: Quantisation = Quantisation.NF4
) -> PreTrainedModel:
    """The quantised base as plain linear layers: the same numbers at full speed, where memory allows.

    Every weight equals what the live quantised layer multiplies with when it computes in `dtype`.
    """
    model = load_base(base_dir, quantisation, facts, dtype)
    for name, module in list(model.named_modules()):
        if isinstance(module, Quantised):
            model.set_submodule(name, _dequantised(module, dtype))
    for name in ("is_quantized", "is_loaded_in_4bit", "is_loaded_in_8bit", "hf_quantizer", "quantization_method"):
        # What save_pretrained, PEFT and .to() look at; the weights are plain from here on.
        model.__dict__.pop(name, None)
    model.config.__dict__.pop("quantization_config", None)
    return model.eval().requires_grad_(False)


def _dequantised(layer: Quantised, dtype: torch.dtype) -> torch.nn.Linear:
    weight = dense_weight(layer, dtype)
    plain = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device="meta")
    plain.weight = torch.nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        plain.bias = torch.nn.Parameter(layer.bias.data.to(dtype), requires_grad=False)
    return plain


def attach_adapter(model: PreTrainedModel, adapter_dir: Path, name: str = "default") -> PeftModel:
    """Put a verified adapter onto its base, frozen, in float32. Call `verify_adapter` first: PEFT checks nothing."""
    adapted = PeftModel.from_pretrained(model, str(adapter_dir), adapter_name=name, is_trainable=False).eval()
    fuse(adapted)
    return adapted


def take_off(adapted: PeftModel) -> None:
    """All adapters off their base, in place: PEFT's own way refuses (IA)3 on quantised layers."""
    base = adapted.get_base_model()
    wrapped: list[str] = []
    for name, module in list(base.named_modules()):
        if isinstance(module, AuxiliaryTrainingWrapper):
            base.set_submodule(name, module.original_module)
            wrapped.append(f"{name}.")
        elif isinstance(module, BaseTunerLayer) and not name.startswith(tuple(wrapped)):
            base.set_submodule(name, module.get_base_layer())
    base.__dict__.pop("peft_config", None)


def verify_adapter(adapter_dir: Path, base_dir: Path, base_tree_sha256: str) -> AdapterManifest:
    """The manifest, if adapter and base are the very ones it names; else ADAPTER_REFUSED with what differs."""
    path = adapter_dir / MANIFEST
    if not path.is_file():
        raise _refused("it has no manifest, so its base is unknown")
    try:
        manifest = AdapterManifest.model_validate_json(path.read_text())
        config = json.loads((adapter_dir / "adapter_config.json").read_text())
    except (ValueError, OSError):
        raise _refused("its manifest or config cannot be read") from None
    for what, found, needed in _comparisons(adapter_dir, base_dir, base_tree_sha256, manifest):
        if found != needed:
            raise _refused(f"{what} is not the one it was trained with", found=found, needed=needed)
    if config.get("base_model_name_or_path") != manifest.base.name:
        raise _refused("its config names another base than its manifest")
    return manifest


def _comparisons(
    adapter_dir: Path, base_dir: Path, base_tree_sha256: str, manifest: AdapterManifest
) -> list[tuple[str, str | None, str | None]]:
    """(what, found, needed), cheapest first."""
    facts = base_facts(base_dir)
    weights = adapter_dir / WEIGHTS
    return [
        ("the base's content", base_tree_sha256, manifest.base.tree_sha256),
        ("the base's config", sha256_of(base_dir / "config.json"), manifest.base.config_sha256),
        ("the tokenizer", sha256_of(base_dir / "tokenizer.json"), manifest.base.tokenizer_sha256),
        ("the chat template", facts.chat_template_sha256, manifest.base.chat_template_sha256),
        ("the weight file", sha256_of(weights) if weights.is_file() else None, manifest.weights_sha256),
    ]


def base_facts(base_dir: Path) -> BaseFacts:
    return BaseFacts.model_validate_json((base_dir / "facts.json").read_text())


def _refused(why: str, **facts: Any) -> AppError:
    return AppError(
        f"this adapter is not loaded: {why}. Use the base it was trained on, or train again.",
        code=Code.ADAPTER_REFUSED,
        **facts,
    )
