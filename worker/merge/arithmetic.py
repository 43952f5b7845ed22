"""The arithmetic half of gate P8: recomputes a written merge from the files, by another road than the one that made it.

NumPy with its own reader of safetensors, its own pairing of A and B and its own rounding: a fault in the plan,
the fold or the writing shows as a difference here. Imports no torch.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.domain.merging import ArithmeticCheck, StorageDtype

Floats = NDArray[np.float64]
Weights = Callable[[str], NDArray[np.float32]]
BLOCK_ELEMENTS = 1 << 22  # a block of rows in float64: 32 MB


class RawTensors:
    """Tensors of every *.safetensors file of a folder, mapped, decoded by hand."""

    def __init__(self, folder: Path) -> None:
        self._where: dict[str, tuple[Path, str, tuple[int, ...], int]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                header_bytes = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(header_bytes))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                start = 8 + header_bytes + entry["data_offsets"][0]
                self._where[name] = (path, entry["dtype"], tuple(entry["shape"]), start)

    def names(self) -> set[str]:
        return set(self._where)

    def dtype(self, name: str) -> str:
        """As the file says it: F32, BF16, F16, I64 ..."""
        return self._where[name][1]

    def bits(self, name: str) -> NDArray:
        """The stored bits as unsigned integers of the element's size, in the tensor's shape."""
        path, dtype, shape, start = self._where[name]
        kind = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[_SIZES[dtype]]
        return np.memmap(path, kind, "r", start, shape or (1,)) if math.prod(shape) else np.empty(shape, kind)

    def floats(self, name: str) -> NDArray[np.float32]:
        """The values in float32: exact for F32, BF16 and F16."""
        bits, dtype = self.bits(name), self.dtype(name)
        if dtype == "BF16":
            return (bits.astype(np.uint32) << 16).view(np.float32)
        return bits.view(np.float16 if dtype == "F16" else np.float32).astype(np.float32)


_SIZES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass
class _Findings:
    worst_ulp: int = 0
    worst_tensor: str | None = None
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)


def check_arithmetic(
    merged_dir: Path,
    base_dir: Path,
    adapter_dir: Path,
    storage: StorageDtype,
    weights: Weights | None,
    tick: Callable[[], None],
) -> ArithmeticCheck:
    """Compare every tensor in `merged_dir` with round(W + scale * B A), or round(W) where nothing was to be merged; the
    rows of trained tokens with the adapter's own.

    W comes from `base_dir`, or from `weights(name)` for a base that is not as its file (dequantised NF4).
    `tick` is called at each tensor and may raise to stop.
    """
    merged, base = RawTensors(merged_dir), RawTensors(base_dir)
    pairs = _changes(adapter_dir)
    head_of = _tied_head(base, pairs)
    expected = base.names() | set(pairs)
    findings = _Findings()
    for name in sorted(expected & merged.names()):
        tick()
        start = head_of if name not in base.names() else name
        if base.dtype(start) not in ("F32", "BF16", "F16"):
            if not np.array_equal(merged.bits(name), base.bits(start)):
                findings.changed.append(name)
            continue
        _compare(name, merged, (weights or base.floats)(start), pairs.get(name), storage, findings)
    return ArithmeticCheck(
        merged_tensors=len(pairs), untouched_tensors=len(base.names() - set(pairs)),
        worst_ulp=findings.worst_ulp, worst_tensor=findings.worst_tensor,
        missing_modules=tuple(sorted({*findings.missing, *_modules(expected - merged.names())})),
        unexpected_modules=tuple(_modules(merged.names() - expected)),
        changed_untouched=tuple(findings.changed), beyond_one_ulp=tuple(findings.beyond),
    )  # fmt: skip


@dataclass(frozen=True)
class _Pair:
    a: Floats  # (rank, in)
    b: Floats  # (out, rank)
    scale: float
    lengths: Floats | None  # (out,), DoRA's

    def onto(self, weight: Floats, rows: slice) -> Floats:
        """These rows of the weight as they should be."""
        moved = weight + self.scale * (self.b[rows] @ self.a)
        if self.lengths is None:
            return moved
        return moved * (self.lengths[rows] / np.sqrt((moved * moved).sum(axis=1)))[:, None]


@dataclass(frozen=True)
class _Rows:
    values: Mapping[int, Floats]  # by token, (width,)

    def onto(self, weight: Floats, rows: slice) -> Floats:
        """As `_Pair.onto`."""
        placed = weight.copy()
        for token, value in self.values.items():
            if rows.start <= token < rows.start + len(weight):
                placed[token - rows.start] = value
        return placed


_Change = _Pair | _Rows


def _changes(adapter_dir: Path) -> dict[str, _Change]:
    """The adapter read anew, by name of the weight it changes."""
    config = json.loads((adapter_dir / "adapter_config.json").read_text())
    raw = RawTensors(adapter_dir)
    pairs: dict[str, _Change] = {}
    for name in raw.names():
        if name.endswith(".trainable_tokens_delta"):
            module = name.removeprefix("base_model.model.").removesuffix(".token_adapter.trainable_tokens_delta")
            tokens = config["trainable_token_indices"][module.split(".")[-1]]
            pairs[f"{module}.weight"] = _Rows(dict(zip(tokens, raw.floats(name).astype(np.float64), strict=True)))
        if name.endswith(".lora_A.weight"):
            stem = name[: -len(".lora_A.weight")]
            a, b = raw.floats(name).astype(np.float64), raw.floats(f"{stem}.lora_B.weight").astype(np.float64)
            divisor = math.sqrt(len(a)) if config.get("use_rslora") else len(a)
            module = stem.removeprefix("base_model.model.")
            alpha = (config.get("alpha_pattern") or {}).get(module, config["lora_alpha"])
            lengths = f"{stem}.lora_magnitude_vector"
            pairs[f"{module}.weight"] = _Pair(
                a=a, b=b, scale=alpha / divisor,
                lengths=raw.floats(lengths).astype(np.float64) if lengths in raw.names() else None,
            )  # fmt: skip
    return pairs


def _tied_head(base: RawTensors, pairs: Mapping[str, _Change]) -> str:
    """What a head without a tensor of its own starts from."""
    if set(pairs) <= base.names():
        return ""
    return next(name for name in sorted(base.names()) if name.endswith("embed_tokens.weight"))


def _compare(
    name: str,
    merged: RawTensors,
    weight: NDArray[np.float32],
    pair: _Change | None,
    storage: StorageDtype,
    to: _Findings,
) -> None:
    """Judge one tensor, a block of rows at a time."""
    found = merged.bits(name)
    if merged.dtype(name) != {StorageDtype.BF16: "BF16", StorageDtype.FP32: "F32"}[storage]:
        (to.changed if pair is None else to.beyond).append(name)
        return
    worst, should_change, does_change, differs = 0, False, False, False
    for rows in _blocks(weight.shape):
        plain = _round(weight[rows].astype(np.float64), storage)
        if pair is None:
            differs = differs or not np.array_equal(found[rows], plain)
            continue
        wanted = _round(pair.onto(weight[rows].astype(np.float64), rows), storage)
        if not np.array_equal(found[rows], wanted):
            worst = max(worst, int(np.abs(_ordered(found[rows]) - _ordered(wanted)).max(initial=0)))
        should_change = should_change or not np.array_equal(wanted, plain)
        does_change = does_change or not np.array_equal(found[rows], plain)
    if differs:
        to.changed.append(name)
    if should_change and not does_change:
        to.missing.append(name.removesuffix(".weight"))
    if worst > 1:
        to.beyond.append(name)
    if worst > to.worst_ulp:
        to.worst_ulp, to.worst_tensor = worst, name


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, BLOCK_ELEMENTS // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0] if shape else 1, rows):
        yield slice(start, start + rows)


def _round(values: Floats, storage: StorageDtype) -> NDArray:
    """Bits of `values` in the storage type, nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    if storage is StorageDtype.FP32:
        return bits
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _ordered(bits: NDArray) -> NDArray[np.int64]:
    """Sign-magnitude bits as integers whose difference counts the representable steps between two numbers."""
    sign = 1 << (8 * bits.dtype.itemsize - 1)
    magnitude = (bits & (sign - 1)).astype(np.int64)
    return np.where(bits & sign, -magnitude, magnitude)


def _modules(names: set[str]) -> list[str]:
    return sorted(name.removesuffix(".weight") for name in names)
