"""Proves a saved adapter before anyone is told of it (promise P7): whole, finite, reloading, and able to stop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file

from models.domain.adapter import AdapterManifest
from models.domain.errors import Code, JobFailed
from worker.data.render import Rendered
from worker.device import DeviceFacts, bytes_below_peak
from worker.loading import WEIGHTS, attach_adapter, load_base, verify_adapter
from worker.train.objective import Objective
from worker.unpacked import unpacked

ALLOWED_LOSS_DIFFERENCE = 1e-3
MOST_PROBE_TOKENS = 96


def prove(
    out: Path, base: Path, passes: Sequence[Sequence[Any]], expected_loss: float, probe: Rendered,
    objective: Callable[[PeftModel], Objective], device: DeviceFacts, dtype: torch.dtype, base_tree_sha256: str,
) -> bool:  # fmt: skip
    """Load the adapter onto a fresh base and measure again; returns whether the `probe` is answered to its end.

    Raises JobFailed with code `adapter_refused` where the loss is not the one measured when it was saved.
    """
    manifest = verify_adapter(out, base, base_tree_sha256)
    check_finite(out / WEIGHTS)
    fresh = attach_adapter(load_base(base, manifest.quantisation, device, dtype), out)
    measured = objective(fresh)
    with unpacked(fresh, dtype, bytes_below_peak(device.name)):
        found = measured.evaluate(passes).loss_per_token
        stops = _stops(fresh, probe, manifest)
    if not abs(found - expected_loss) <= ALLOWED_LOSS_DIFFERENCE:
        raise JobFailed(
            f"the saved adapter has a loss of {found:.4f} where training ended at {expected_loss:.4f}; it is not "
            "published. Start the training again, and tell an administrator if it happens twice.",
            code=Code.ADAPTER_REFUSED,
            found=found,
            expected=expected_loss,
        )
    return stops


def check_finite(weights: Path) -> None:
    """Raises JobFailed with code `not_finite` naming the first adapter tensor that holds no number."""
    for name, tensor in load_file(weights).items():
        if not torch.isfinite(tensor).all():
            raise JobFailed(
                f"the trained weight {name} holds a value that is no number. Lower the learning rate and train again.",
                code=Code.NOT_FINITE,
            )


def _stops(model: PeftModel, row: Rendered, manifest: AdapterManifest) -> bool:
    """Answer one held-out prompt greedily: does it end by itself, in a few times the length of the right answer?"""
    span = row.spans[-1]
    prompt = torch.tensor([row.ids[: span.start]], device=model.device)  # (1, T)
    room = min(MOST_PROBE_TOKENS, 3 * (span.end - span.start) + 16)
    stops = list(manifest.stop_token_ids)
    with torch.no_grad():
        answer = model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=room, do_sample=False,
            eos_token_id=stops, pad_token_id=stops[0],
        )  # fmt: skip
    return bool(set(answer[0, prompt.shape[1] :].tolist()) & set(stops))
