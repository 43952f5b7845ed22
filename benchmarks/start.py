"""From a job directory handed to a child process until its first optimiser step, by phase, on SmolLM2-135M-Instruct.

    make bench-start, or: python -m benchmarks.start [--base FOLDER] [--rounds 3] [--busy]

The settings are those of a first run: the sample facts, the house default, 4 bits and full precision. Cold: the process
is started for the job and loads its libraries. Warm: one that has loaded them waits, as a worker keeps it. The base was
used before, so that its 4-bit weights are packed already; "first use" packs them. The five take turns. What a worker
does before (claiming the job, linking files it holds already) is not in it: milliseconds.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.train import BUSY_SHARE, bundled_base, busiest, facts
from models import samples
from models.domain.job import JobKind
from models.domain.presets import HOUSE
from models.domain.progress import PhaseBegan, StepDone
from models.infra.settings import Settings
from tests.sources import write_source
from worker.cache import link_tree
from worker.jobdir import PACKED, JobDir, Order
from worker.spawn import Child, cores, spawn
from worker.standby import Standby

RESULT = Path(__file__).with_suffix(".json")
SECONDS_TO_WARM = 60.0
SAMPLE = "larkspur-facts"
KINDS = {
    "nf4 warm": ("nf4", True, True), "nf4 warm, first use": ("nf4", True, False), "nf4 cold": ("nf4", False, True),
    "none warm": ("none", True, True), "none cold": ("none", False, True),
}  # fmt: skip
"""Quantisation, whether a warm process waits, whether the base was used before."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", action="store_true")
    asked = parser.parse_args()
    other = busiest()
    if other[1] > BUSY_SHARE and not asked.busy:
        raise SystemExit(f"{other[0]} uses {other[1]:.0%} of a core. Stop it, or add --busy.")
    with tempfile.TemporaryDirectory() as folder:
        base = asked.base or bundled_base(Path(folder) / "base")
        packed = Path(folder) / PACKED
        one_start(packed.with_name("before"), base, "nf4", None, is_warm=False, packs_to=packed)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in KINDS}
        for number in range(asked.rounds):
            for name, (quantisation, is_warm, is_used) in KINDS.items():
                home = Path(folder) / f"{number}-{name}"
                kept = packed if is_used and quantisation == "nf4" else None
                found[name].append(one_start(home, base, quantisation, kept, is_warm=is_warm))
                shutil.rmtree(home)
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "rounds": asked.rounds,
        "busiest_other_process_before": f"{other[1]:.0%} of a core", "machine": facts(),
        "seconds_until": {name: _medians(each) for name, each in found.items()},
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for name, each in result["seconds_until"].items():
        print(f"{name}: first step after {each['first step']:.1f} s", each)


def one_start(
    home: Path, base: Path, quantisation: str, packed: Path | None, *, is_warm: bool, packs_to: Path | None = None
) -> dict[str, float]:
    """Seconds until each phase began and the first step was done."""
    threads = cores()
    with _child(home, threads, is_warm=is_warm) as begin:
        jobdir = _laid_out(home / "job", base, quantisation, threads, packed, keeps=packs_to is not None)
        began, offset, seen = time.monotonic(), 0, {}
        child = begin(jobdir)
        while "first step" not in seen:
            if child.has_ended:
                raise SystemExit(f"the training ended before its first step:\n{jobdir.log.read_text()[-2000:]}")
            child.feed()
            said, offset = jobdir.said_since(offset)
            for one in said:
                if isinstance(one, PhaseBegan):
                    seen.setdefault(str(one.phase), round(time.monotonic() - began, 2))
                elif isinstance(one, StepDone):
                    seen["first step"] = round(time.monotonic() - began, 2)
            time.sleep(0.02)
        child.reap()
        if packs_to is not None:
            shutil.move(jobdir.packed, packs_to)
    return seen


@contextmanager
def _child(home: Path, threads: int, *, is_warm: bool) -> Iterator[Any]:
    """A function from a job directory to the child that works on it."""
    home.mkdir()
    if not is_warm:
        yield lambda jobdir: spawn(jobdir, threads)
        return
    standby = Standby(Settings(data_dir=home, threads=threads), "cpu", home / "standby")
    standby.prepare()
    _wait_for_imports()

    def begin(jobdir: JobDir) -> Child:
        child = standby.take(jobdir, JobKind.TRAIN, threads)
        assert child is not None
        return child

    try:
        yield begin
    finally:
        standby.close()


def _wait_for_imports() -> None:
    """Until the waiting child rests."""
    (child,) = psutil.Process().children()
    until = time.monotonic() + SECONDS_TO_WARM
    child.cpu_percent()
    time.sleep(2)
    while child.cpu_percent() > 2 and time.monotonic() < until:
        time.sleep(1)


def _laid_out(
    root: Path, base: Path, quantisation: str, threads: int, packed: Path | None = None, *, keeps: bool = False
) -> JobDir:
    jobdir = JobDir(root)
    payload = {
        "base": "base-1", "data": {"training_file": "file-1", "max_length": HOUSE.max_length},
        "quantisation": quantisation, "method": HOUSE.method.model_dump(mode="json"),
        "schedule": HOUSE.schedule.model_dump(mode="json"),
    }  # fmt: skip
    tree_sha256 = "0" * 64
    jobdir.lay_out(
        Order(
            job="ftjob-1", fence=1, kind=JobKind.TRAIN, payload=payload, threads=threads, compute_dtype="fp32",
            facts={"base_name": "smollm2-135m-instruct", "base_tree_sha256": tree_sha256, "keeps_packed": keeps},
        )
    )  # fmt: skip
    shutil.copytree(base, jobdir.inputs / "base", copy_function=os.link)
    if packed is not None:
        link_tree(packed, jobdir.inputs / PACKED)
    write_source(jobdir.inputs / "train", samples.path(SAMPLE).read_bytes())
    return jobdir


def _medians(each: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in each), 2) for name in each[0]}


if __name__ == "__main__":
    main()
