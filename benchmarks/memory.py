"""The memory estimate of the Train page against real trainings, each in a process of its own.

    make bench-memory, or: python -m benchmarks.memory [--seconds 240] [--again] [--judge]

Trains a few steps of each case of benchmarks/memory_cases.py by the worker's own code (benchmarks/memory_side.py) and
takes the highest resident memory. The cases of SETTING were looked at when the constants of models/domain/memory.py
were chosen, those of HELD_OUT only judge them. For memory of 0.8, 0.95, 1.05 and 1.3 times what a case took, the
verdict is compared with what would have happened. With --seconds it ends after so many and goes on the next time;
--judge runs nothing and compares the figures of benchmarks/memory.json with the estimate as it is now. Needs a CPU,
4 GB and no network.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.memory_bases import write_base
from benchmarks.memory_cases import HELD_OUT, SETTING, Case
from benchmarks.train import facts
from models.catalog.formats import FORMATS
from models.catalog.training_memory import Machine, training_memory
from models.domain.base_model import Shapes
from models.domain.job import JobKind
from models.domain.memory import Verdict, verdict_of
from models.domain.token_figures import TokenFigures, token_figures
from models.domain.training import OverLong, TrainingSpec, TrainOn
from tests.sources import write_source
from tests.training import TREE_SHA256
from worker.data.counting import count_rows
from worker.data.render import Renderer
from worker.data.tallying import Tally
from worker.jobdir import JobDir, Order
from worker.spawn import child_environment

RESULT = Path(__file__).with_suffix(".json")
BUDGETS = (0.8, 0.95, 1.05, 1.3)  # of what was measured
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    parser.add_argument("--judge", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    before = json.loads(RESULT.read_text()) if RESULT.exists() and not asked.again else {"cases": {}, "bases": {}}
    cases, bases = before["cases"], before["bases"]
    if not asked.judge:
        with tempfile.TemporaryDirectory() as folder:
            measure(cases, bases, Path(folder), time.monotonic() + asked.seconds)
    judged = keep(cases, bases)
    for name, said in judged.items():
        print(f"{name}: {json.dumps({key: value for key, value in said.items() if key != 'lines'})}")
        print("\n".join(said["lines"]))


def keep(cases: dict[str, Any], bases: dict[str, Any]) -> dict[str, Any]:
    """Judge what is there, and write it down."""
    judged = {name: judge(part, cases, bases) for name, part in (("setting", SETTING), ("held_out", HELD_OUT))}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    result = {"at": at, **judged, "machine": facts(), "cases": cases, "bases": bases}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return judged


def measure(cases: dict[str, Any], bases: dict[str, Any], home: Path, until: float) -> None:
    """Adds what is not there yet, as long as there is time."""
    with (home / "log").open("w") as log:
        side = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.memory_side"], env=child_environment(home, THREADS),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert side.stdin is not None and side.stdout is not None
    for case in (*HELD_OUT, *SETTING):
        if case.name in cases or time.monotonic() > until:
            continue
        base = home / "bases" / case.base
        if not base.exists():
            base.parent.mkdir(exist_ok=True)
            write_base(base, case.base)
        rows = list(case.data())
        side.stdin.write(f"{lay(case, base, rows, home / f'job-{len(cases)}')}\n")
        side.stdin.flush()
        said = json.loads(side.stdout.readline() or '{"status": "ended"}')
        if said["status"] != "succeeded":
            raise SystemExit(f"{case.name}: {said['status']}\n{(home / 'log').read_text()[-3000:]}")
        shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
        counted = figures(case, rows, base)
        bases[case.base] = short(shapes)
        cases[case.name] = {**said, "tokens": list(counted.lengths), "trained_share": round(counted.longest_share, 4)}
        keep(cases, bases)
        print(f"{case.name}: {said['peak_bytes'] / 1e6:,.0f} MB", flush=True)
    side.kill()
    side.wait()


def lay(case: Case, base: Path, rows: list[dict[str, Any]], root: Path) -> Path:
    """The job directory."""
    jobdir = JobDir(root)
    jobdir.lay_out(
        Order(
            job="ftjob-1", fence=1, kind=JobKind.TRAIN, payload=case.spec(), threads=THREADS, compute_dtype="fp32",
            facts={"base_name": "benchmark", "base_tree_sha256": TREE_SHA256},
        )
    )  # fmt: skip
    (jobdir.inputs / "base").symlink_to(base)
    write_source(jobdir.inputs / "train", rows)
    return root


def figures(case: Case, rows: list[dict[str, Any]], base: Path) -> TokenFigures:
    """As stage 3 of the data gate counts them and the page reads them."""
    form = max(FORMATS.values(), key=lambda form: form.sniff(rows[0]))
    written = [form.parse(row).model_dump_json() for row in rows]
    tally = Tally()
    for number, counted in enumerate(
        count_rows(Renderer.from_folder(base), written, TrainOn.ASSISTANT, {}, lambda: None, is_careful=False)
    ):
        tally.add(number, counted)
    report = tally.report("benchmark", (), 1.0)
    return token_figures([report], [len(rows)], max_length=4096, over_long=OverLong.DROP, are_texts=[case.is_text])


def estimated(case: Case, found: dict[str, Any], shapes: Shapes) -> int:
    """What the page would say, from shapes and counts alone."""
    spec, tokens = TrainingSpec.model_validate(case.spec()), tuple((each[0], each[1]) for each in found["tokens"])
    counted = TokenFigures(
        sequences=1, tokens=1, trained_tokens=1, longest=max(tokens)[0], longest_share=found["trained_share"],
        counted=1, too_long=0, lengths=tokens,
    )  # fmt: skip
    return training_memory(spec, shapes, Machine(kind="cpu", compute_bytes=4), counted).total_bytes


def judge(part: Sequence[Case], cases: dict[str, Any], bases: dict[str, Any]) -> dict[str, Any]:
    """How far the estimate is off, above the process as it is before it begins, and which verdicts are wrong."""
    lines, errors, ran_out, wrongly, refused = [], [], 0, 0, 0
    for case in part:
        if case.name not in cases:
            continue
        found = cases[case.name]
        needs, took, empty = estimated(case, found, long(bases[case.base])), found["peak_bytes"], found["empty_bytes"]
        errors.append(abs(needs - took) / (took - empty))
        verdicts = {share: verdict_of(needs, share * took) for share in BUDGETS}
        ran_out += sum(one is Verdict.FITS for share, one in verdicts.items() if share < 1)
        refused += sum(one is Verdict.TOO_MUCH for one in verdicts.values())
        wrongly += sum(one is Verdict.TOO_MUCH for share, one in verdicts.items() if share > 1)
        words = ", ".join(f"{share}: {one.replace('_', ' ')}" for share, one in verdicts.items())
        lines.append(
            f"{case.name}: estimated {needs / 1e6:,.0f} MB, measured {took / 1e6:,.0f} MB, "
            f"{(needs - took) / (took - empty):+.0%} above the process; {words}"
        )
    return {
        "configurations": len(lines), "fits_that_ran_out": ran_out, "does_not_fit": refused,
        "does_not_fit_that_ran": wrongly, "median_error_above_process": round(statistics.median(errors or [0]), 3),
        "largest_error_above_process": round(max(errors, default=0), 3), "lines": lines,
    }  # fmt: skip


def short(shapes: Shapes) -> dict[str, Any]:
    """Without the layers after the first, which are all alike in these bases."""
    told = shapes.model_dump(mode="json", exclude_defaults=True)
    told["modules"] = [one for one in told["modules"] if ".layers." not in one["name"] or ".layers.0." in one["name"]]
    return told


def long(told: dict[str, Any]) -> Shapes:
    modules = []
    for one in told["modules"]:
        names = {one["name"].replace(".layers.0.", f".layers.{layer}."): None for layer in range(told["layers"])}
        modules += [{**one, "name": name} for name in names]
    return Shapes.model_validate({**told, "modules": modules})


if __name__ == "__main__":
    main()
