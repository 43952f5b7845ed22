"""The safetensors files of a model folder, whole or in shards: which tensor is where. Reads on demand."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from models.domain.errors import Code, JobFailed

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class TensorFiles:
    """Names, shapes and tensors of a folder as it lies on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file_of = _map_names(folder)

    def names(self) -> list[str]:
        return sorted(self.file_of)

    def shape(self, name: str) -> tuple[int, ...]:
        with safe_open(self.folder / self.file_of[name], framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def tensor(self, name: str) -> torch.Tensor:
        with safe_open(self.folder / self.file_of[name], framework="pt") as file:
            return file.get_tensor(name)

    def shards(self) -> Iterator[tuple[str, list[str]]]:
        """(file name, its tensors), in order: a merge keeps the base's division into files."""
        for file in sorted(set(self.file_of.values())):
            yield file, sorted(name for name, where in self.file_of.items() if where == file)


def _map_names(folder: Path) -> dict[str, str]:
    if (folder / INDEX).exists():
        return json.loads((folder / INDEX).read_text())["weight_map"]
    if not (folder / SINGLE).exists():
        raise JobFailed(
            f"the base folder holds neither {SINGLE} nor {INDEX}; safetensors weights were needed. "
            "Import the base again.",
            code=Code.INVALID_BASE,
        )
    with safe_open(folder / SINGLE, framework="pt") as file:
        return dict.fromkeys(file.keys(), SINGLE)
