"""Puts a fresh adapter on a frozen base, and writes adapters so that equal weights are equal bytes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_config, get_peft_model, get_peft_model_state_dict
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from transformers import PreTrainedModel

from models.catalog.methods import METHODS
from models.domain.adapter import AdapterManifest
from models.domain.base_model import Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import MethodChoice, Spec
from worker.jobdir import write_atomically
from worker.loading import MANIFEST, WEIGHTS
from worker.methods import begin
from worker.methods.layers import lighten
from worker.methods.lora import fuse
from worker.methods.virtual import has_virtual_tokens, save_state
from worker.train.starting import put_weights


def method_options(choice: MethodChoice) -> Spec:
    """The catalog's checked options of a choice. Raises Invalid with code `invalid_setting`."""
    if choice.name not in METHODS:
        raise Invalid(
            f'there is no method "{choice.name}"; known are {", ".join(METHODS)}.',
            code=Code.INVALID_SETTING,
            param="method.name",
        )
    try:
        return METHODS[choice.name].options.model_validate(choice.options)
    except ValueError as error:
        raise Invalid(
            f"the options of {choice.name} cannot be used: {_first_line(error)}.",
            code=Code.INVALID_SETTING,
            param="method.options",
        ) from None


def fresh_adapter(
    model: PreTrainedModel, choice: MethodChoice, shapes: Shapes, seed: int, start: Path | None = None
) -> PeftModel:
    """The base with an untrained adapter in float32; at this point it still answers exactly like the base, or, with
    virtual tokens, as the base does behind those.

    With the folder of an adapter to `start` from, it answers like that one.
    """
    method, options = METHODS[choice.name], method_options(choice)
    if not method.cost(shapes, options):
        raise Invalid(
            f"{choice.name} with these options has nothing to train on this base. Choose other layers.",
            code=Code.INVALID_SETTING,
            param="method.options",
        )
    if method.is_float32_only and model.dtype != torch.float32:
        raise Invalid(
            f"{method.title} trains weights of the base's own arithmetic, which must be float32, and this base "
            f"computes in {str(model.dtype).removeprefix('torch.')}. Choose another method, or have the worker compute "
            "in float32 (TUNEROOM_COMPUTE_DTYPE=fp32).",
            code=Code.INVALID_SETTING,
            param="method.name",
        )
    torch.manual_seed(seed)
    config = get_peft_config(method.peft_config(shapes, options))
    adapted = get_peft_model(model, config, autocast_adapter_dtype=True)
    _free_tokens(adapted)
    begin(method.name, adapted, options)
    if start is not None:
        put_weights(adapted, start)
    check_float32(adapted)
    fuse(adapted)
    lighten(adapted)
    return adapted


def _free_tokens(model: PeftModel) -> None:
    """Let every trained row of an embedding learn, in float32.

    torch gives the padding token's row no gradient, and many bases pad with the very token that ends a turn. We pad
    behind a mask, where none would come from.
    """
    for layer in model.modules():
        if isinstance(layer, TrainableTokensLayer):
            held: Any = layer
            held.trainable_tokens_delta.float()  # PEFT leaves them in the base's dtype
            if isinstance(held.base_layer, torch.nn.Embedding):
                held.base_layer.padding_idx = None


def check_float32(model: torch.nn.Module) -> None:
    """Trained weights in bf16 do not move: at 1e-6, 98 % of a bf16 matrix is unchanged after 100 Adam steps."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise TypeError(f"{name} is {parameter.dtype}; trained weights must be float32")


def adapted_names(model: PeftModel) -> tuple[str, ...]:
    """Full names in the base of the modules that carry an adapter, sorted."""
    modules = model.get_base_model().named_modules()
    return tuple(sorted(name for name, module in modules if isinstance(module, BaseTunerLayer)))


def weights_of(model: PeftModel) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names that PEFT reads them by, on the CPU."""
    state: Mapping[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(state.items())}


def save_adapter(model: PeftModel, folder: Path, base_name: str) -> None:
    """adapter_config.json and adapter_model.safetensors, canonical: PEFT itself writes sets and local paths."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights_of(model), folder / WEIGHTS, metadata={"format": "pt"})
    config: dict[str, Any] = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": base_name, "inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    write_atomically(folder / "adapter_config.json", json.dumps(plain, indent=2, sort_keys=True, default=str))


def save_trained(model: PeftModel, folder: Path, base_name: str) -> None:
    """What a resume goes on from: the adapter, and what a method trains beside it and does not publish."""
    save_adapter(model, folder, base_name)
    if has_virtual_tokens(model):
        save_state(model, folder)


def save_manifest(folder: Path, manifest: AdapterManifest) -> None:
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1))


def _first_line(error: ValueError) -> str:
    lines = str(error).splitlines()
    return " ".join(line.strip() for line in lines[1:3]) or lines[0]
