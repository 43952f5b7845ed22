"""Carries out a plan: writes merged safetensors, one file at a time. Knows nothing of adapters on disk or of checks."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.domain.merging import StorageDtype
from worker.merge.plan import HEAD, Fold, MergePlan, Rows, embedding_name
from worker.merge.tensor_files import INDEX, TensorFiles

STORED_AS = {StorageDtype.BF16: torch.bfloat16, StorageDtype.FP32: torch.float32}


def fold(weight: torch.Tensor, pair: Fold) -> torch.Tensor:
    """W + scale * (B @ A), with DoRA's lengths of its rows where it has any; not yet rounded.

    Shapes: weight (out, in) -> (out, in), float64. Summed in float64 because where W and the change cancel,
    a float32 sum in another order is thousands of ulp away; so the one rounding is the storage's.
    Source: arXiv:2106.09685, eq. 3.
    """
    whole = weight.double() + pair.scale * (pair.b.double() @ pair.a.double())
    if pair.lengths is None:
        return whole
    return whole * (pair.lengths.double() / whole.norm(dim=1))[:, None]


def write_merged(
    plan: MergePlan,
    layout: TensorFiles,
    source: Callable[[str], torch.Tensor],
    destination: Path,
    on_file: Callable[[int, int], None],
) -> None:
    """Write every tensor of `layout`, folded where the plan says so, in the plan's storage type.

    `source(name)` gives the weights that are merged onto: the files' own, or dequantised ones of the same names.
    `on_file(done, total)` is told after each file and may raise to stop.
    """
    shards = list(layout.shards())
    written: dict[str, str] = {}
    total_bytes = 0
    changes = {**plan.folds, **plan.rows}
    for done, (file, names) in enumerate(shards, start=1):
        tensors = {name: _stored(source(name), changes.get(name), plan.storage) for name in names}
        if plan.unties_head and (embedding := embedding_name(layout)) in tensors:
            tensors[HEAD] = _stored(source(embedding), plan.folds[HEAD], plan.storage)
        save_file(tensors, destination / file, metadata={"format": "pt"})
        written |= dict.fromkeys(tensors, file)
        total_bytes += sum(tensor.nbytes for tensor in tensors.values())
        on_file(done, len(shards))
    if len(shards) > 1:
        _write_index(written, total_bytes, destination)


def put(weight: torch.Tensor, rows: Rows) -> torch.Tensor:
    """The table, (vocabulary, width), with these rows in place of its own; float32."""
    whole = weight.to(torch.float32, copy=True)
    whole[list(rows.ids)] = rows.values
    return whole


def _stored(weight: torch.Tensor, change: Fold | Rows | None, storage: StorageDtype) -> torch.Tensor:
    if not weight.is_floating_point():
        return weight
    match change:
        case None:
            whole = weight
        case Fold():
            whole = fold(weight, change)
        case Rows():
            whole = put(weight, change)
    return whole.to(STORED_AS[storage]).contiguous()


def _write_index(written: Mapping[str, str], total_bytes: int, destination: Path) -> None:
    index = {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(written.items()))}
    (destination / INDEX).write_text(json.dumps(index, indent=1) + "\n")
