"""Turns a base and an adapter into one model folder, published only if gate P8 passes. Knows nothing of Redis or SQL.

    in/base/ in/adapter/ [in/heldout/]  ->  out/ (a canonical base folder with manifest.json, merge_report.json)

plan -> fold -> check -> publish. All work happens beside out/; out/ appears by one rename, so a kill at any point
leaves nothing, and doing it again gives the same bytes.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from models.domain.adapter import AdapterManifest
from models.domain.job import Phase
from models.domain.merging import MergeMode, MergeReport, MergeSpec, ShiftCheck
from models.domain.progress import PhaseBegan, Progressed, Remarked
from models.domain.training import Quantisation
from worker.device import DeviceFacts, device_facts, use_threads, visible_name
from worker.jobdir import JobDir, Order, Outcome, sync_directory
from worker.loading import attach_adapter, load_base, load_dequantised, verify_adapter
from worker.merge.arithmetic import check_arithmetic
from worker.merge.fold import write_merged
from worker.merge.gate import judge, shift_of
from worker.merge.listen import Heard, distance, hear
from worker.merge.plan import MergePlan, plan_merge, refused
from worker.merge.publish import dress, write_report
from worker.merge.rows import RowsForChecks, rows_for_checks
from worker.merge.tensor_files import TensorFiles
from worker.stop import Stop

STAGED = ".merging"
SAY_SECONDS = 5.0
FP32 = torch.float32  # of every model that is compared, whatever it is stored in


class Stopped(Exception):
    """A stop was asked; the merge keeps nothing and starts anew next time."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One merge, verified: every path and fact its steps need."""

    spec: MergeSpec
    manifest: AdapterManifest
    base_dir: Path
    adapter_dir: Path
    staged: Path
    device: DeviceFacts
    on_quantised: bool
    """The weights merged onto are the dequantised ones that it was trained on."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Merge as ordered. Raises ADAPTER_REFUSED for a wrong base, MERGE_REFUSED where the gate does not pass."""
    order = jobdir.order()
    use_threads(order.threads)
    work = prepare(jobdir, order)
    return carry_out(jobdir, order, work, plan_merge(work.base_dir, work.adapter_dir, work.spec.storage), stop)


def prepare(jobdir: JobDir, order: Order) -> Work:
    """Verify that adapter and base belong together, and clear what an earlier attempt left."""
    spec = MergeSpec.model_validate(order.payload)
    base_dir, adapter_dir = jobdir.inputs / "base", jobdir.inputs / "adapter"
    manifest = verify_adapter(adapter_dir, base_dir, order.facts["base_tree_sha256"])
    staged = jobdir.root / STAGED
    for leftover in (staged, jobdir.out):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.mkdir()
    return Work(
        spec=spec, manifest=manifest, base_dir=base_dir, adapter_dir=adapter_dir, staged=staged,
        device=device_facts(visible_name(order.device)),
        on_quantised=spec.mode is MergeMode.AS_TESTED and manifest.quantisation is not Quantisation.NONE,
    )  # fmt: skip


def carry_out(jobdir: JobDir, order: Order, work: Work, plan: MergePlan, stop: Stop) -> Outcome:
    """Fold by `plan`, judge the result against the files themselves, and publish it or leave nothing."""
    try:
        return _fold_and_publish(jobdir, order, work, plan, stop)
    except Stopped:
        return Outcome(status="stopped")
    finally:
        shutil.rmtree(work.staged, ignore_errors=True)


def _fold_and_publish(jobdir: JobDir, order: Order, work: Work, plan: MergePlan, stop: Stop) -> Outcome:
    jobdir.say(PhaseBegan(phase=Phase.MERGING))
    layout, dequantised = TensorFiles(work.base_dir), _Dequantised(work)
    source = dequantised.tensor if work.on_quantised else layout.tensor
    write_merged(plan, layout, source, work.staged, _tell_files(jobdir, stop))
    dress(work.staged, work.base_dir, work.manifest, work.spec, plan.unties_head)

    jobdir.say(PhaseBegan(phase=Phase.CHECKING))
    report = check(jobdir, order, work, dequantised, stop)
    if not report.passed:
        raise refused("; ".join(report.refusals) + ".", report=report.model_dump(mode="json"))

    jobdir.say(PhaseBegan(phase=Phase.SAVING))
    write_report(work.staged, report)
    work.staged.replace(jobdir.out)
    sync_directory(jobdir.root)
    return Outcome(status="succeeded", result={"report": report.model_dump(mode="json")})


def check(jobdir: JobDir, order: Order, work: Work, dequantised: "_Dequantised", stop: Stop) -> MergeReport:
    """Measure everything P8 asks of the folder in `work.staged`."""
    rows = rows_for_checks(work.base_dir, jobdir.inputs / "heldout", work.manifest)
    told = _Steps(jobdir, stop, total=4 if _shift_applies(work) else 3)
    weights = dequantised.floats if work.on_quantised else None
    arithmetic = check_arithmetic(
        work.staged, work.base_dir, work.adapter_dir, work.spec.storage, weights, told.tick
    )  # fmt: skip
    told.step()
    onto = dequantised.take() if work.on_quantised else load_base(work.base_dir, Quantisation.NONE, work.device, FP32)
    reference = hear(_with_adapter(work, onto), rows.for_logits, (), told.tick).logits
    del onto
    told.step()
    # In float32 whatever it is stored in: the distance is then the storage's rounding and nothing else.
    merged = load_base(work.staged, Quantisation.NONE, work.device, FP32)
    said = hear(merged, rows.for_logits, rows.for_shift if _shift_applies(work) else (), told.tick)
    against_adapter = distance(reference, said.logits)
    told.step()
    if not _shift_applies(work):
        shift = ShiftCheck(verdict="not_applicable", answer_tokens=0)
    else:
        del merged, reference
        shift = _shift(work, rows, said, told.tick)
        told.step()
        if shift.verdict == "not_enough_data":
            jobdir.say(Remarked(level="warn", text=_too_few(shift)))
    return judge(work.spec.mode, work.spec.storage, arithmetic, against_adapter, shift)


def _shift_applies(work: Work) -> bool:
    return work.spec.mode is MergeMode.FULL_PRECISION and work.manifest.quantisation is not Quantisation.NONE


def _shift(work: Work, rows: RowsForChecks, merged: Heard, tick: Callable[[], None]) -> ShiftCheck:
    """The merge on the original base against the adapter where it was trained: on the quantised one."""
    model = _with_adapter(work, _load_dequantised(work))
    trained = hear(model, rows.for_logits, rows.for_shift, tick)
    tokens = [row.answer_tokens for row in rows.for_shift]
    return shift_of(trained.losses, merged.losses, tokens, distance(trained.logits, merged.logits))


def _load_dequantised(work: Work) -> PreTrainedModel:
    return load_dequantised(work.base_dir, work.device, FP32, work.manifest.quantisation)


class _Dequantised:
    """The quantised base as plain weights, made when first asked for and once: fold and checks read the same."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._model: PreTrainedModel | None = None
        self._tensors: dict[str, torch.Tensor] = {}

    def tensor(self, name: str) -> torch.Tensor:
        """On the host, under its name in the base's files."""
        if self._model is None:
            self._model = _load_dequantised(self._work)
            self._tensors = dict(self._model.state_dict())
        return self._tensors[name].cpu()

    def floats(self, name: str) -> NDArray[np.float32]:
        """As the arithmetic check reads them."""
        return self.tensor(name).float().numpy()

    def take(self) -> PreTrainedModel:
        """The model, for good: what changes it or lets it go does so alone."""
        model = self._model or _load_dequantised(self._work)
        self._model, self._tensors = None, {}
        return model


def _with_adapter(work: Work, base: PreTrainedModel) -> PreTrainedModel:
    """The adapter as PEFT computes it, beside the weights: not folded."""
    return attach_adapter(base, work.adapter_dir)  # type: ignore[return-value]


class _Steps:
    """Says progress between the checks and ends the merge there when a stop is asked."""

    def __init__(self, jobdir: JobDir, stop: Stop, total: int) -> None:
        self._jobdir, self._stop, self._total, self._done = jobdir, stop, total, 0
        self._said_at = 0.0

    def step(self) -> None:
        """One more check is done."""
        self._done += 1
        self._said_at = 0.0
        self.tick()

    def tick(self) -> None:
        """Still at it. Said now and then: a child that says nothing for long is taken for hung."""
        if self._stop.asked():
            raise Stopped
        if time.monotonic() - self._said_at >= SAY_SECONDS:
            self._said_at = time.monotonic()
            self._jobdir.say(Progressed(done=self._done, total=self._total, unit="checks"))


def _tell_files(jobdir: JobDir, stop: Stop) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        jobdir.say(Progressed(done=done, total=total, unit="files"))
        if stop.asked():
            raise Stopped

    return tell


def _too_few(shift: ShiftCheck) -> str:
    return (
        f"Whether the original base answers as well as the quantised one it was trained on is not known: "
        f"{shift.answer_tokens} answer tokens were there, {shift.needed_tokens} are needed. "
        'Add validation rows, or merge "as tested".'
    )
