"""Bias-only: of a LoRA with a bias only the bias learns. Source: arXiv:2106.10199; knows PEFT's LoRA layers."""

import warnings
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import LoraLayer

from models.catalog.methods.bias import BiasOptions


@torch.no_grad()
def begin(model: PeftModel, options: BiasOptions) -> None:
    """Both matrices zero and frozen, so that no product of them ever comes to the bias."""
    # PEFT takes every vector in a LoRA for a matrix that was saved in shards.
    warnings.filterwarnings("ignore", message=r"Adapter '.*lora_B\.bias")
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and "default" in layer.lora_A:
            held: Any = layer
            for matrix in (held.lora_A["default"].weight, held.lora_B["default"].weight):
                matrix.zero_().requires_grad_(False)
