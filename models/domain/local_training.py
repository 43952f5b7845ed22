"""A training without a server: what `tuneroom train --local` asks of a worker process, and what it gets back.

The command writes a LocalRequest as one line to the process's stdin and holds that open: its end is a wish to stop. The
process writes lines to stdout: Doing while it prepares, `models.domain.progress` lines while it trains, and a
LocalEnded as the last one.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.domain.base_model import AddBaseSpec
from models.domain.ids import Sha256
from models.domain.reading import Reading
from models.domain.training import TrainingSpec

REPORT = "report.json"


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LocalRequest(_Told):
    """Paths are absolute. `spec` has all settings; which base and files it means is said beside it.

    `base` says it as an import does; `mixed` are the files of each further dataset, in the order of `spec.data.rows`.
    `began_at` is when the person began to wait, in seconds since 1970.
    """

    spec: TrainingSpec
    base: AddBaseSpec
    training: tuple[str, ...] = Field(min_length=1)
    mixed: tuple[tuple[str, ...], ...] = ()
    validation: tuple[str, ...] = ()
    start_adapter: str | None = None
    reading: Reading = Reading()
    out: str
    cache: str
    is_resumed: bool = False
    threads: int | None = Field(default=None, ge=1)
    device: str = "cpu"
    compute_dtype: Literal["auto", "fp32", "bf16"] = "auto"
    memory_limit_bytes: int | None = None
    device_memory_bytes: int | None = None
    hub_offline: bool = False
    began_at: float


class Losses(_Told):
    """Per trained token, nats, at the first and the last step measured, and the lowest of all."""

    first: float
    last: float
    best: float


class LocalFile(_Told):
    """One file as it was read. `role` is training, mixed-1 ..., or validation."""

    role: str
    path: str
    sha256: Sha256
    bytes: int


class LocalReport(_Told):
    """`report.json`. Seconds count from the command's start; those of an attempt that was interrupted do not count.

    `tokens_seen` are those of all rows that passed, padding not counted, `trained_tokens` those of them in the loss.
    `tokens_per_second` is seen tokens by the seconds of the optimiser steps alone. Memory is the training process's
    resident memory at its highest, everything loaded; `device_peak_bytes` what it held of a GPU.
    """

    version: int = 1
    steps: int
    epochs: float
    rows: int
    tokens_seen: int
    trained_tokens: int
    train_loss: Losses
    validation_loss: Losses | None
    seconds_to_first_step: float | None
    seconds_total: float
    tokens_per_second: float | None
    peak_memory_bytes: int
    device_peak_bytes: int | None
    device: str
    dtype: str
    quantisation: str
    cpu_model: str
    threads: int
    versions: dict[str, str]
    adapter: str
    adapter_sha256: Sha256 = Field(title="Of adapter_model.safetensors")
    adapter_config_sha256: Sha256
    base: str
    base_sha256: Sha256 = Field(title="Listing of the base folder, as in the manifest")
    data: tuple[LocalFile, ...]
    data_sha256: Sha256 = Field(title="Of the training data, as in the manifest")
    left_out: dict[str, int] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    resumed_at: int | None = Field(default=None, title="Step of the checkpoint that this attempt went on from")
    spec: TrainingSpec


class LocalEnded(_Told):
    """How it ended. `error` is an AppError as it writes itself; `step` is that of the checkpoint to go on from."""

    status: Literal["succeeded", "failed", "unusable", "interrupted"]
    report: LocalReport | None = None
    error: dict[str, Any] | None = None
    step: int | None = None
