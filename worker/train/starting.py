"""The adapter that a training goes on from: verified, put onto the model in float32, remembered by the new manifest."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from models.catalog.continuing import check_same_shape
from models.domain.adapter import AdapterParent
from models.domain.errors import Code, Invalid
from models.domain.ids import Sha256
from models.domain.training import TrainingSpec
from worker.jobdir import sha256_of
from worker.loading import WEIGHTS, verify_adapter


def start_of(spec: TrainingSpec, inputs: Path, base: Path, base_tree_sha256: str) -> Path | None:
    """in/adapter, if the training goes on from one. Raises `adapter_refused` for another base, `invalid_setting` for
    another method or shape."""
    if spec.start_adapter is None:
        return None
    folder = inputs / "adapter"
    check_same_shape(spec.method, verify_adapter(folder, base, base_tree_sha256).model_dump(mode="json"))
    return folder


def put_weights(model: PeftModel, folder: Path) -> None:
    """Replace the fresh weights by the adapter's, all of them. Raises Invalid where one is missing or too much."""
    weights = {name: tensor.to(torch.float32) for name, tensor in load_file(folder / WEIGHTS).items()}
    fresh = get_peft_model_state_dict(model, save_embedding_layers=False)
    here, there = ({name: tuple(one.shape) for name, one in state.items()} for state in (fresh, weights))
    if here != there:
        first = min(here.items() ^ there.items())[0]
        raise Invalid(
            f"this training cannot continue from that adapter: its {first} has another shape, or is on one side only. "
            "Take the adapter's own method and options.",
            code=Code.INVALID_SETTING,
            param="start_adapter",
        )
    set_peft_model_state_dict(model, weights)


def parent_of(spec: TrainingSpec, start: Path | None) -> AdapterParent | None:
    """For the manifest."""
    if spec.start_adapter is None or start is None:
        return None
    return AdapterParent(id=spec.start_adapter, weights_sha256=Sha256(sha256_of(start / WEIGHTS)))
