"""`report.json` of a local training: figures out of what the child said and left. Knows files, no torch."""

import time
from collections.abc import Sequence
from pathlib import Path

from models.domain.adapter import AdapterManifest
from models.domain.ids import Sha256
from models.domain.local_training import LocalFile, LocalReport, LocalRequest, Losses
from models.domain.progress import Evaluated, Remarked, Said, StepDone
from models.domain.training import TrainingSpec
from worker.jobdir import sha256_of
from worker.local.following import Followed

WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"


class Heard:
    """What one attempt, and those before it, said of steps and evaluations. A step taken twice counts once."""

    def __init__(self, earlier: Sequence[Said] = ()) -> None:
        self.steps: dict[int, StepDone] = {}
        self.losses: dict[int, float] = {}
        self.remarks: list[str] = []
        self.first_step_at: float | None = None  # seconds since 1970, of this attempt
        for said in earlier:
            self._take(said)
        self.remarks.clear()

    def hear(self, said: Said) -> None:
        if isinstance(said, StepDone) and self.first_step_at is None:
            self.first_step_at = time.time()
        self._take(said)

    def _take(self, said: Said) -> None:
        match said:
            case StepDone():
                self.steps[said.step] = said
            case Evaluated():
                self.losses[said.step] = said.loss_per_token
            case Remarked():
                self.remarks.append(said.text)
            case _:
                pass


def report_of(
    request: LocalRequest, spec: TrainingSpec, folder: Path, heard: Heard, followed: Followed,
    files: Sequence[LocalFile], resumed_at: int | None,
) -> LocalReport:  # fmt: skip
    """For the adapter in `folder`. Figures that the manifest has too are the manifest's."""
    manifest = AdapterManifest.model_validate_json((folder / MANIFEST).read_text())
    steps = [heard.steps[step] for step in sorted(heard.steps) if step <= manifest.data.steps]
    seen = _tokens_seen(steps, manifest)
    seconds = sum(step.step_seconds for step in steps)
    losses = [heard.losses[step] for step in sorted(heard.losses)]
    return LocalReport(
        steps=manifest.data.steps, epochs=steps[-1].epoch, rows=manifest.data.rows, tokens_seen=seen,
        trained_tokens=manifest.data.trained_tokens,
        train_loss=_losses([step.loss_per_token for step in steps]),
        validation_loss=_losses(losses) if losses else None,
        seconds_to_first_step=heard.first_step_at - request.began_at if heard.first_step_at else None,
        seconds_total=time.time() - request.began_at,
        tokens_per_second=seen / seconds if seconds else None,
        peak_memory_bytes=followed.peak_bytes, device_peak_bytes=_device_peak(steps, manifest.machine.device),
        device=manifest.machine.device, dtype=manifest.compute_dtype, quantisation=manifest.quantisation,
        cpu_model=manifest.machine.cpu_model, threads=manifest.machine.threads, versions=manifest.machine.versions,
        adapter=str(Path(request.out)), adapter_sha256=manifest.weights_sha256,
        adapter_config_sha256=Sha256(sha256_of(folder / CONFIG)),
        base=manifest.base.name, base_sha256=manifest.base.tree_sha256,
        data=tuple(files), data_sha256=manifest.data.training_sha256, left_out=manifest.data.left_out,
        remarks=tuple(heard.remarks), resumed_at=resumed_at, spec=spec,
    )  # fmt: skip


def _losses(values: Sequence[float]) -> Losses:
    return Losses(first=values[0], last=values[-1], best=min(values))


def _tokens_seen(steps: Sequence[StepDone], manifest: AdapterManifest) -> int:
    """As the steps said it; where they do not say, every row passes once an epoch."""
    said = [step.tokens for step in steps if step.tokens is not None]
    if len(said) == len(steps):
        return sum(said)
    return round((manifest.data.tokens or 0) * steps[-1].epoch)


def _device_peak(steps: Sequence[StepDone], device: str) -> int | None:
    """What it held of a GPU at the most; a CPU has no memory of its own."""
    said = [step.peak_memory_bytes for step in steps if step.peak_memory_bytes is not None]
    return max(said) if said and device != "cpu" else None
