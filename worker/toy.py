"""Counts to N, one step at a time: a real job without torch, to prove the queue and for `doctor`.

It checkpoints, resumes, stops and fails like a training; knows nothing of models.
"""

import json
import os
import time
from pathlib import Path

from pydantic import Field

from models.domain.errors import JobFailed
from models.domain.job import CancelWish, Phase
from models.domain.progress import CheckpointSaved, PhaseBegan, StepDone
from models.domain.training import Spec
from worker.jobdir import (
    REQUIRED_IN_CHECKPOINT,
    JobDir,
    Outcome,
    seal_checkpoint,
    verify_checkpoint,
    write_atomically,
)
from worker.stop import Stop


class ToySpec(Spec):
    """`fail_at` ends with an error outcome, `crash_at` ends the process without one."""

    count: int = Field(3, ge=1, le=1_000_000)
    seconds_each: float = Field(0.0, ge=0, le=600)
    checkpoint_every: int | None = Field(None, ge=1)
    fail_at: int | None = Field(None, ge=1)
    crash_at: int | None = Field(None, ge=1)


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Count on from the checkpoint, if any, and leave out/counted.json."""
    order = jobdir.order()
    spec = ToySpec.model_validate(order.payload)
    counted = verify_checkpoint(jobdir.root / order.resume_from).step if order.resume_from else 0
    first = counted + 1
    jobdir.say(PhaseBegan(phase=Phase.TRAINING))
    while counted < spec.count:
        began = time.monotonic()
        if stop.asked() or stop.wait(spec.seconds_each):
            return _stopped(jobdir, order.fence, counted, first)
        counted += 1
        if counted == spec.fail_at:
            raise JobFailed(f"the toy job was told to fail at {counted}. Start it without fail_at.")
        if counted == spec.crash_at:
            os._exit(3)
        jobdir.say(_step(counted, spec.count, time.monotonic() - began))
        if spec.checkpoint_every and counted % spec.checkpoint_every == 0:
            _save(jobdir, order.fence, counted)
    return Outcome(status="succeeded", result=_leave(jobdir, counted, first))


def _stopped(jobdir: JobDir, fence: int, counted: int, first: int) -> Outcome:
    if counted:
        _save(jobdir, fence, counted)
    keep = jobdir.stop_wish() is CancelWish.KEEP
    return Outcome(status="stopped", result=_leave(jobdir, counted, first) if keep else {"counted": counted})


def _leave(jobdir: JobDir, counted: int, first: int) -> dict[str, int]:
    result = {"counted": counted, "first": first}
    write_atomically(jobdir.out / "counted.json", json.dumps(result))
    return result


def _step(counted: int, total: int, seconds: float) -> StepDone:
    return StepDone(
        step=counted, total_steps=total, epoch=counted / total, loss_per_token=1 / counted, grad_norm=0.0,
        learning_rate=0.0, trained_tokens=1, step_seconds=seconds,
    )  # fmt: skip


def _save(jobdir: JobDir, fence: int, counted: int) -> None:
    final = jobdir.checkpoints / f"step-{counted:08d}"
    if final.exists():
        return
    staged: Path = jobdir.checkpoints / f".tmp-{fence}-{counted}"
    staged.mkdir(exist_ok=True)
    for name in REQUIRED_IN_CHECKPOINT:
        (staged / name).write_text(str(counted))
    seal_checkpoint(staged, final, step=counted, fence=fence, versions={}, facts={})
    jobdir.say(CheckpointSaved(step=counted, directory=f"checkpoints/{final.name}"))
