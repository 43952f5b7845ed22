"""Which models are in memory: bases by (content, quantisation), each with adapters that are switched, never merged in.

Least recently used ones leave when room is needed. Belongs to one thread: two threads switching adapters on one
model gave wrong answers. Knows folders, not storage.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner
from transformers import DynamicCache, PreTrainedModel

from models.domain.base_model import Shapes
from models.domain.errors import AppError, Code
from models.domain.ids import Sha256
from models.domain.training import Quantisation
from worker.device import DeviceFacts, compute_dtype
from worker.loading import attach_adapter, load_base, load_dequantised, take_off, verify_adapter
from worker.methods.virtual import are_virtual_tokens, cache_behind

MOST_ADAPTERS = 16  # on one base
# A weight's bits and its share of the block's scale, rounded up.
WEIGHT_BYTES = {Quantisation.NF4: 0.5625, Quantisation.NF4_PLAIN: 0.5625, Quantisation.INT8: 1.0625}


class ResidentKey(NamedTuple):
    base: Sha256
    quantisation: Quantisation


@dataclass
class Resident:
    """One base in memory. `model` is the transformers model itself; LoRA layers are put into it in place.

    `begun` are the caches of adapters that are virtual tokens: those lie beside the base and never in it.
    """

    model: PreTrainedModel
    base_bytes: int
    peft: PeftModel | None = None
    adapters: OrderedDict[Sha256, int] = field(default_factory=OrderedDict)
    """Bytes by content, least recently used first."""
    begun: dict[Sha256, DynamicCache] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        return self.base_bytes + sum(self.adapters.values())


class Residents:
    """`ready` gives the model for a turn, loading and unloading as needed."""

    def __init__(self, device: DeviceFacts, memory_bytes: int) -> None:
        self._device = device
        self._memory_bytes = memory_bytes
        # On CPUs a quantised base is served dequantised in fp32: the same numbers at full speed.
        self._dtype = torch.float32 if device.name == "cpu" else compute_dtype("auto", device)
        self._loaded: OrderedDict[ResidentKey, Resident] = OrderedDict()

    def holds(self, key: ResidentKey, adapter: Sha256 | None) -> bool:
        """Whether nothing would have to be loaded. Safe to ask from any thread; the answer may be old by then."""
        resident = self._loaded.get(key)
        return resident is not None and (adapter is None or adapter in resident.adapters)

    def loaded(self) -> list[tuple[ResidentKey, list[Sha256]]]:
        """What is in memory, least recently used first."""
        return [(key, list(resident.adapters)) for key, resident in self._loaded.items()]

    def ready(
        self, key: ResidentKey, base_dir: Path, adapter: Sha256 | None = None, adapter_dir: Path | None = None
    ) -> PreTrainedModel:
        """The base with exactly this adapter active, or with none. One of virtual tokens lies in `begun`, not in it.

        Raises OUT_OF_MEMORY where it cannot fit, ADAPTER_REFUSED where adapter and base do not belong together.
        """
        resident = self._loaded.get(key) or self._load(key, base_dir)
        self._loaded.move_to_end(key)
        if adapter is None or adapter_dir is None:
            _switch_off(resident)
            return resident.model
        if adapter not in resident.adapters:
            self._attach(key, resident, base_dir, adapter, adapter_dir)
        resident.adapters.move_to_end(adapter)
        if adapter in resident.begun:
            _switch_off(resident)
            return resident.model
        assert resident.peft is not None
        _tuner(resident.peft).enable_adapter_layers()
        resident.peft.set_adapter(_name(adapter), inference_mode=True)
        return resident.model

    def begun(self, key: ResidentKey, adapter: Sha256 | None) -> DynamicCache | None:
        """What a cache holds before the prompt, of an adapter that is `ready` and virtual tokens; None for others."""
        return None if adapter is None else self._loaded[key].begun.get(adapter)

    def unload(self, key: ResidentKey, adapter: Sha256) -> None:
        """Take an adapter off its base and forget it."""
        resident = self._loaded[key]
        del resident.adapters[adapter]
        if resident.begun.pop(adapter, None) is not None:
            return
        assert resident.peft is not None
        resident.peft.delete_adapter(_name(adapter))

    def clear(self) -> None:
        self._loaded.clear()

    def _load(self, key: ResidentKey, base_dir: Path) -> Resident:
        shapes = Shapes.model_validate_json((base_dir / "shapes.json").read_text())
        self._make_room(_bytes_needed(shapes, key.quantisation, self._dtype, self._device.name), keep=None)
        if key.quantisation is not Quantisation.NONE and self._device.name == "cpu":
            model = load_dequantised(base_dir, self._device, self._dtype, key.quantisation)
        else:
            model = load_base(base_dir, key.quantisation, self._device, self._dtype)
        resident = Resident(model=model, base_bytes=_bytes_of(model))
        self._loaded[key] = resident
        return resident

    def _attach(self, key: ResidentKey, resident: Resident, base_dir: Path, adapter: Sha256, adapter_dir: Path) -> None:
        trained_on = verify_adapter(adapter_dir, base_dir, key.base).quantisation
        if trained_on is not key.quantisation:
            # Other weights, other answers: SmolLM2 and its NF4 differ in 4 of 10 first choices.
            raise AppError(
                f'this adapter was trained on its base held as "{trained_on}" and was asked on it as '
                f'"{key.quantisation}", which is another model. Ask it as it was trained.',
                code=Code.ADAPTER_REFUSED, found=str(key.quantisation), needed=str(trained_on),
            )  # fmt: skip
        begun = self._begun(resident, adapter_dir)
        if begun is None:
            _make_way(resident, adapter_dir)
        size = (adapter_dir / "adapter_model.safetensors").stat().st_size if begun is None else _bytes_in(begun)
        while len(resident.adapters) >= MOST_ADAPTERS:
            self.unload(key, next(iter(resident.adapters)))
        self._make_room(size, keep=key)
        if begun is not None:
            resident.begun[adapter] = begun
        elif resident.peft is None:
            resident.peft = attach_adapter(resident.model, adapter_dir, _name(adapter))
        else:
            resident.peft.load_adapter(str(adapter_dir), adapter_name=_name(adapter), is_trainable=False)
            resident.peft.eval()
        resident.adapters[adapter] = size

    def _begun(self, resident: Resident, adapter_dir: Path) -> DynamicCache | None:
        """The cache behind the adapter's virtual tokens; None where it has none."""
        if not are_virtual_tokens(adapter_dir):
            return None
        _switch_off(resident)
        return cache_behind(attach_adapter(resident.model, adapter_dir))

    def _make_room(self, needed_bytes: int, keep: ResidentKey | None) -> None:
        """Unload other bases, oldest first, then adapters of the kept one, until `needed_bytes` more fit."""
        while self._free_bytes() < needed_bytes:
            oldest = next((key for key in self._loaded if key != keep), None)
            if oldest is not None:
                del self._loaded[oldest]
                if self._device.name != "cpu":
                    torch.cuda.empty_cache()
            elif keep is not None and self._loaded[keep].adapters:
                self.unload(keep, next(iter(self._loaded[keep].adapters)))
            else:
                raise _too_large(needed_bytes, self._memory_bytes)

    def _free_bytes(self) -> int:
        return self._memory_bytes - sum(resident.total_bytes for resident in self._loaded.values())


def _make_way(resident: Resident, adapter_dir: Path) -> None:
    """Take all adapters off where the new one is of another kind: PEFT cannot hold two kinds on one base.

    One with token embeddings of its own is a kind by itself: PEFT looks for them in every other adapter, too.
    """
    config = json.loads((adapter_dir / "adapter_config.json").read_text())
    held = [] if resident.peft is None else list(resident.peft.peft_config.values())
    has_tokens = bool(config.get("trainable_token_indices"))
    if resident.peft is not None and any(
        one.peft_type != config["peft_type"] or has_tokens or getattr(one, "trainable_token_indices", None)
        for one in held
    ):
        take_off(resident.peft)
        resident.peft = None
        for adapter in resident.adapters.keys() - resident.begun.keys():
            del resident.adapters[adapter]


def _switch_off(resident: Resident) -> None:
    """Every adapter that is in the base."""
    if resident.peft is not None:
        _tuner(resident.peft).disable_adapter_layers()


def _bytes_in(cache: DynamicCache) -> int:
    return sum(part.nbytes for layer in cast(Any, cache).layers for part in (layer.keys, layer.values))


def _tuner(peft: PeftModel) -> BaseTuner:
    return cast(BaseTuner, peft.base_model)


def _name(adapter: Sha256) -> str:
    """PEFT's name for it: module names may hold no dot and should not begin with a digit."""
    return f"a{adapter[:24]}"


def _bytes_of(model: PreTrainedModel) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def _bytes_needed(shapes: Shapes, quantisation: Quantisation, dtype: torch.dtype, device: str) -> int:
    """What the base will hold in memory, before it is loaded."""
    whole = shapes.parameters * dtype.itemsize
    if quantisation is Quantisation.NONE or device == "cpu":
        return whole
    quantised = sum(
        module.shape[0] * module.shape[1]
        for module in shapes.modules
        if module.kind == "linear" and module.name.rpartition(".")[2] != "lm_head" and ".experts." not in module.name
    )
    return int(whole - quantised * (dtype.itemsize - WEIGHT_BYTES[quantisation]))


def _too_large(needed_bytes: int, memory_bytes: int) -> AppError:
    return AppError(
        f"this model needs {needed_bytes / 1e9:.2f} GB of memory; the chat worker may hold "
        f"{memory_bytes / 1e9:.2f} GB. Raise TUNEROOM_CHAT_MEMORY_BYTES (and TUNEROOM_CHAT_DEVICE_MEMORY_BYTES, where "
        "a GPU has that cap), or choose a smaller base.",
        code=Code.OUT_OF_MEMORY,
        needed_bytes=needed_bytes,
        allowed_bytes=memory_bytes,
    )
