"""The base that a training puts its adapter on: as an earlier one packed it, or loaded and packed now.

Where the order allows it, what was packed is left in packed/ for the next training (`worker.packed`). A copy that
cannot be read costs its packing and nothing else; the proof of the adapter loads the base itself and would see others.
"""

import logging
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedModel

from models.domain.training import Quantisation
from worker.device import DeviceFacts, dtype_name
from worker.jobdir import PACKED, JobDir
from worker.loading import load_base, load_packed

SHARD = "256MB"  # of what is saved at once: its bytes are held twice for a moment

log = logging.getLogger("tuneroom.child")


def base_to_train(
    jobdir: JobDir, quantisation: Quantisation, device: DeviceFacts, dtype: torch.dtype, *, keeps: bool
) -> PreTrainedModel:
    """As `load_base`, the same weights to the bit."""
    base = jobdir.inputs / "base"
    if quantisation is Quantisation.NONE:
        return load_base(base, quantisation, device, dtype)
    kept = jobdir.inputs / PACKED / dtype_name(dtype)
    if kept.is_dir():
        try:
            model = load_packed(kept, device, dtype)
            log.info("the base was packed by an earlier training")
            return model
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library says of a damaged copy, the base is there, too
            log.warning("the packed base cannot be read, it is packed anew: %s", error)
    model = load_base(base, quantisation, device, dtype)
    if keeps:
        _leave(model, jobdir.packed, dtype_name(dtype))
    return model


def _leave(model: PreTrainedModel, folder: Path, name: str) -> None:
    """Complete as soon as its name exists."""
    staged = folder / f"{name}.staged"
    try:
        model.save_pretrained(staged, max_shard_size=SHARD)
        staged.rename(folder / name)
    except OSError as error:
        log.warning("the packed base is not kept: %s", error)
        shutil.rmtree(staged, ignore_errors=True)
