"""Reads an adapter and a base's headers and says what a merge will do, tensor by tensor; refuses before any large read.

A plan holds only rank-sized matrices. Knows nothing of job directories, models in memory or checks afterwards.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models.domain.errors import Code, JobFailed
from models.domain.merging import StorageDtype
from worker.merge.tensor_files import TensorFiles

PEFT_PREFIX = "base_model.model."
HEAD = "lm_head.weight"
LENGTHS = "lora_magnitude_vector"
TOKEN_ROWS = ".token_adapter.trainable_tokens_delta"  # PEFT's name; what it holds are whole rows, not differences


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One LoRA pair to be added to one weight: W + scale * (B @ A); with `lengths` (DoRA) its rows get those."""

    a: torch.Tensor
    """(rank, in)"""
    b: torch.Tensor
    """(out, rank)"""
    scale: float
    """alpha / rank, or alpha / sqrt(rank) for rsLoRA"""
    lengths: torch.Tensor | None = None
    """(out,), DoRA's (arXiv:2402.09353, eq. 5)"""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of trained tokens that take the place of a table's own."""

    ids: tuple[int, ...]
    values: torch.Tensor
    """(ids, width)"""


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """`folds` and `rows` by the name of the weight they change; every other tensor of the base is kept."""

    folds: Mapping[str, Fold]
    rows: Mapping[str, Rows]
    storage: StorageDtype
    unties_head: bool
    """The base shares lm_head with its embedding and the adapter changes lm_head only: the file gets its own."""


def plan_merge(base_dir: Path, adapter_dir: Path, storage: StorageDtype) -> MergePlan:
    """Pair up the adapter's matrices and check every shape. Raises MERGE_REFUSED with the tensor at fault."""
    config = json.loads((adapter_dir / "adapter_config.json").read_text())
    _check_config(config)
    tensors = load_file(adapter_dir / "adapter_model.safetensors")
    rows = _rows(tensors, config)
    folds = _folds({name: one for name, one in tensors.items() if not name.endswith(TOKEN_ROWS)}, config)
    base = TensorFiles(base_dir)
    unties_head = HEAD in folds and HEAD not in base.names() and is_tied(base_dir)
    for name, fold in folds.items():
        _check_shapes(name, fold, base.shape(_source_of(name, base)))
    for name, each in rows.items():
        _check_rows(name, each, base)
    if unties_head and rows:
        raise refused(
            "the adapter changes the head and trains tokens of the embedding that it shares. Serve it as it is."
        )
    return MergePlan(folds=folds, rows=rows, storage=storage, unties_head=unties_head)


def is_tied(base_dir: Path) -> bool:
    """Whether the base's output head is its input embedding."""
    return bool(json.loads((base_dir / "config.json").read_text()).get("tie_word_embeddings", False))


def scale_of(config: Mapping[str, Any], rank: int, module: str = "") -> float:
    """alpha / r, or alpha / sqrt(r) for rsLoRA (arXiv:2312.03732); alpha is the module's own where it has one."""
    alpha = float((config.get("alpha_pattern") or {}).get(module, config["lora_alpha"]))
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _check_config(config: Mapping[str, object]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise refused(f"the adapter is of type {kind}; only LoRA adds onto weights. Serve it as it is.")
    for option, meaning in (
        ("modules_to_save", "replaces whole layers"), ("lora_bias", "adds biases"),
        ("fan_in_fan_out", "has transposed weights"),
    ):  # fmt: skip
        if config.get(option):
            raise refused(f"the adapter sets {option}: it {meaning}, and a merge cannot add that. Serve it as it is.")


def _folds(tensors: Mapping[str, torch.Tensor], config: Mapping[str, object]) -> dict[str, Fold]:
    folds: dict[str, Fold] = {}
    for name in sorted(tensors):
        module, a_or_b = _split(name)
        if a_or_b == "lora_A":
            partner = name.replace(".lora_A.", ".lora_B.")
            if partner not in tensors:
                raise refused(f"the adapter holds {name} without {partner}: its file is damaged. Train it again.")
            a, b = tensors[name].float(), tensors[partner].float()
            lengths = tensors.get(f"{PEFT_PREFIX}{module}.{LENGTHS}")
            if bool(config.get("use_dora")) != (lengths is not None):
                raise refused(f"the adapter's config and its lengths for {module} differ: train it again.")
            folds[f"{module}.weight"] = Fold(a=a, b=b, scale=scale_of(config, a.shape[0], module), lengths=lengths)
        elif f"{PEFT_PREFIX}{module}.lora_A.weight" not in tensors:
            raise refused(f"the adapter holds {name} without its lora_A: its file is damaged. Train it again.")
    if not folds:
        raise refused("the adapter holds no LoRA matrices: there is nothing to merge. Choose another adapter.")
    return folds


def _rows(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, Rows]:
    told: Mapping[str, Sequence[int]] = config.get("trainable_token_indices") or {}
    rows: dict[str, Rows] = {}
    for name in sorted(tensors):
        if not name.endswith(TOKEN_ROWS):
            continue
        module = name.removeprefix(PEFT_PREFIX).removesuffix(TOKEN_ROWS)
        ids = tuple(told.get(module.rpartition(".")[2], ()))
        if len(ids) != len(tensors[name]) or len(set(ids)) != len(ids):
            raise refused(
                f"the adapter holds {len(tensors[name])} rows for {module} and names {len(set(ids))} tokens: its files "
                "are damaged. Train it again."
            )
        rows[f"{module}.weight"] = Rows(ids=ids, values=tensors[name].float())
    if told and not rows:
        raise refused(
            "the adapter names trained tokens and holds no rows of theirs: its files are damaged. Train it again."
        )
    return rows


def _split(name: str) -> tuple[str, str]:
    """("model.layers.0.self_attn.q_proj", "lora_A") of PEFT's tensor name."""
    if name.startswith(PEFT_PREFIX) and name.endswith(f".{LENGTHS}"):
        return name.removeprefix(PEFT_PREFIX).removesuffix(f".{LENGTHS}"), LENGTHS
    parts = name.removeprefix(PEFT_PREFIX).rsplit(".", 2)
    if not name.startswith(PEFT_PREFIX) or len(parts) != 3 or parts[1] not in ("lora_A", "lora_B"):
        raise refused(f"the adapter holds {name}, which a merge cannot add onto a weight. Serve it as it is.")
    return parts[0], parts[1]


def _source_of(name: str, base: TensorFiles) -> str:
    """The base tensor that `name` starts from: itself, or the embedding for a tied head."""
    if name in base.names():
        return name
    if name == HEAD and (embedding := embedding_name(base)) is not None:
        return embedding
    raise refused(f"the adapter changes {name}, which the base does not have: it belongs to another base.")


def embedding_name(base: TensorFiles) -> str | None:
    """The name of the input embedding, which a tied head shares."""
    found = [name for name in base.names() if name.endswith("embed_tokens.weight")]
    return found[0] if len(found) == 1 else None


def _check_shapes(name: str, fold: Fold, weight: tuple[int, ...]) -> None:
    (rank, inside), (outside, rank_of_b) = fold.a.shape, fold.b.shape
    if rank != rank_of_b or weight != (outside, inside):
        raise refused(
            f"the adapter does not fit {name}: A is {tuple(fold.a.shape)}, B is {tuple(fold.b.shape)}, "
            f"the base's weight is {weight}; ({outside}, {inside}) was needed. It belongs to another base."
        )


def _check_rows(name: str, rows: Rows, base: TensorFiles) -> None:
    if name not in base.names():
        raise refused(f"the adapter trains tokens of {name}, which the base does not have: it belongs to another base.")
    vocabulary, width = base.shape(name)
    if rows.values.shape[1] != width or not all(0 <= token < vocabulary for token in rows.ids):
        raise refused(
            f"the adapter's tokens do not fit {name}: rows of {rows.values.shape[1]} numbers, ids up to "
            f"{max(rows.ids)}, for a table of {vocabulary} rows of {width}. It belongs to another base."
        )


def refused(why: str, **facts: object) -> JobFailed:
    return JobFailed(f"The merge was refused: {why}", code=Code.MERGE_REFUSED, **facts)
