"""Builds training jobs for the tiny base: small enough that a whole training takes a second or two."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from models.domain.job import JobKind
from tests.nursery import ROOT, Born, nursery
from tests.sources import write_source
from tests.tiny import tiny_base
from worker.jobdir import JobDir, Order

TREE_SHA256 = hashlib.sha256(b"the tiny base").hexdigest()
COLOURS = ("red", "green", "blue", "grey", "pink", "teal", "gold", "black", "white", "brown", "coral", "olive")


def conversations(count: int = 12) -> list[dict[str, Any]]:
    """Questions of different lengths with short answers."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Which colour has number {number}{'?' * (1 + number % 5)}"},
                {"role": "assistant", "content": COLOURS[number % len(COLOURS)] * (1 + number % 2)},
            ]
        }
        for number in range(count)
    ]


def compared(count: int = 12, *, labelled: bool = False) -> list[dict[str, Any]]:
    """Pairs in which a colour is better than its number; or each answer by itself with its label."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        prompt = f"Which colour has number {number}{'?' * (1 + number % 5)}"
        colour, digits = COLOURS[number % len(COLOURS)], str(number) * (1 + number % 4)
        if labelled:
            rows += [{"prompt": prompt, "completion": colour, "label": True}]
            rows += [{"prompt": prompt, "completion": digits, "label": False}]
        else:
            rows += [{"prompt": prompt, "chosen": colour, "rejected": digits}]
    return rows


def training_job(
    root: Path,
    *,
    base: Path | None = None,
    rows: list[dict[str, Any]] | None = None,
    validation: list[dict[str, Any]] | None = None,
    quantisation: str = "none",
    method: str = "lora",
    options: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    fence: int = 1,
    resume_from: str | None = None,
    compute_dtype: str = "fp32",
    device: str = "cpu",
    device_memory_bytes: int | None = None,
    **schedule: Any,
) -> JobDir:
    """As the supervisor lays a job out: unless asked otherwise rank 4 LoRA, one thread, fp32, no samples."""
    jobdir = JobDir(root)
    payload = {
        "base": "base-1",
        "data": {"training_file": "file-1", "validation_fraction": 0, "sample_rows": 0, **(data or {})},
        "quantisation": quantisation,
        "method": {
            "name": method,
            "options": {**({"rank": 4, "alpha": 8} if method == "lora" else {}), **(options or {})},
        },
        "schedule": {"epochs": 1, "batch_rows": 4, "learning_rate": 0.01, **schedule},
        "objective": objective or {},
    }
    jobdir.lay_out(
        Order(
            job="ftjob-1",
            fence=fence,
            kind=JobKind.TRAIN,
            payload=payload,
            facts={"base_name": "tiny", "base_tree_sha256": TREE_SHA256},
            resume_from=resume_from,
            threads=1,
            compute_dtype=compute_dtype,
            device=device,
            device_memory_bytes=device_memory_bytes,
        )
    )
    if base is None:
        tiny_base(jobdir.inputs / "base")
    else:
        shutil.copytree(base, jobdir.inputs / "base")
    write_source(jobdir.inputs / "train", conversations() if rows is None else rows)
    if validation is not None:
        write_source(jobdir.inputs / "validation", validation)
    return jobdir


def spawn(jobdir: JobDir) -> Born:
    """The job in a process of its own, without the wait for its imports."""
    return nursery().bear(jobdir.root.resolve(), jobdir.log.resolve())


def spawn_afresh(jobdir: JobDir) -> subprocess.Popen:
    """The child process of a job as a person would start it, for what a fork cannot show: CUDA does not survive one."""
    with jobdir.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.child", str(jobdir.root), "--alone"],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def losses(jobdir: JobDir) -> dict[int, float]:
    """Loss per token of every optimiser step said so far."""
    return {said.step: said.loss_per_token for said in jobdir.said_since(0)[0] if said.type == "step"}
