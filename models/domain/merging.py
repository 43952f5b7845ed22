"""A merge as data, and the report that decides whether it is published (promise P8)."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from models.domain.adapter import AdapterBase
from models.domain.ids import AdapterId, Sha256
from models.domain.training import Quantisation, Spec


class MergeMode(StrEnum):
    """Onto which weights the adapter is added. Never into 4-bit weights."""

    FULL_PRECISION = "full_precision"  # the base as imported
    AS_TESTED = "as_tested"  # the dequantised base, the weights the adapter was trained and served on


class StorageDtype(StrEnum):
    BF16 = "bf16"
    FP32 = "fp32"


class MergeSpec(Spec):
    adapter: AdapterId
    mode: MergeMode = MergeMode.FULL_PRECISION
    storage: StorageDtype = StorageDtype.BF16


class ArithmeticCheck(Spec):
    """P8 (a): every tensor against an independent fp32 recomputation."""

    merged_tensors: int
    untouched_tensors: int
    worst_ulp: float
    worst_tensor: str | None
    missing_modules: tuple[str, ...] = ()
    unexpected_modules: tuple[str, ...] = ()
    changed_untouched: tuple[str, ...] = ()
    beyond_one_ulp: tuple[str, ...] = ()


class LogitCheck(Spec):
    """P8 (a), second half: merged against base + adapter on the same weights."""

    positions: int
    top1_agreement: float
    mean_kl: float = Field(title="Mean KL(adapter || merged), nats per position")
    needed_top1: float
    allowed_kl: float


class ShiftCheck(Spec):
    """P8 (b): merged (full precision) against the adapter on the quantised base it was trained on."""

    verdict: Literal["not_enough_data", "not_worse", "worse", "not_applicable"]
    answer_tokens: int
    needed_tokens: int = 2000
    adapter_loss: float | None = None
    merged_loss: float | None = None
    difference: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    top1_agreement: float | None = None
    mean_kl: float | None = None


class MergeReport(Spec):
    mode: MergeMode
    storage: StorageDtype
    arithmetic: ArithmeticCheck
    logits: LogitCheck
    shift: ShiftCheck
    passed: bool
    refusals: tuple[str, ...] = ()


class MergeManifest(Spec):
    """`manifest.json` of a merge's folder, which is a base folder otherwise: what went in, what serving must know."""

    kind: Literal["merge"] = "merge"
    base: AdapterBase
    adapter_weights_sha256: Sha256
    trained_on: Quantisation
    spec: MergeSpec
    template_arguments: dict[str, str | bool | int]
    stop_token_ids: tuple[int, ...]
