"""A training step on a GPU beside TRL's and, where it is installed, Unsloth's: one command, a table to paste.

    make bench-gpu BASE=meta-llama/Llama-3.1-8B-Instruct
    python -m benchmarks.train_gpu BASE [--quantisation none] [--rows 32] [--rounds 20]

BASE is a hub id or a folder. Each side trains the same rows in bf16 in a process of its own, one after the other, so
that each has the card's memory. Says useful tokens a second, the share of the card's own bf16 products at the model's
shapes, and peak memory. Not run yet on any GPU: whoever runs it first, please send the table.
"""

import argparse
import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.train import WARM_ROUNDS, Side, short_answers, step_rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", nargs="?")
    parser.add_argument("--quantisation", default="nf4", choices=["none", "nf4"])
    parser.add_argument("--rows", type=int, default=32, help="in an optimiser step")
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("This machine has no CUDA device that torch can use; make bench-train measures on the CPU.")
    if asked.base is None:
        raise SystemExit("Name a base, by hub id or folder: make bench-gpu BASE=meta-llama/Llama-3.1-8B-Instruct")
    with tempfile.TemporaryDirectory() as folder:
        base = _canonical(asked.base, Path(folder) / "base")
        file = step_rows(short_answers(base), asked.rows, asked.rounds + WARM_ROUNDS, Path(folder))
        sides = ["tuneroom", "trl", "trl-packed", *(["unsloth"] if find_spec("unsloth") else []), "products"]
        options = ("--quantisation", asked.quantisation, "--device", "cuda:0", "--dtype", "bf16")
        found = {name: _measure(name, base, file, asked.rounds, options) for name in sides}
    print(f"{asked.base}, {asked.quantisation}, bf16, {asked.rows} rows a step, {torch.cuda.get_device_name()}\n")
    print("| side | useful tokens/s | tuneroom is | share of its bf16 products | peak memory |\n|---|---|---|---|---|")
    ours, bare = found["tuneroom"][0], found.pop("products")[0]
    for name, (pace, peak) in found.items():
        print(f"| {name} | {1 / pace:,.0f} | {pace / ours:.2f}x | {bare / pace:.2f} | {peak / 1e9:.1f} GB |")


def _measure(name: str, base: Path, rows: Path, rounds: int, options: tuple[str, ...]) -> tuple[float, int]:
    """(seconds a useful token, peak bytes)."""
    with Side(name, base, rows, *options) as side:
        said = [side.step() for _ in range(rounds + WARM_ROUNDS)]
    pace = statistics.median(one["seconds"] / one["tokens"] for one in said[WARM_ROUNDS:])
    return pace, max(one["peak_bytes"] for one in said)


def _canonical(reference: str, out: Path) -> Path:
    """The base in the form that trainings load, as an import makes it."""
    from huggingface_hub import snapshot_download

    from worker.bases.canonical import write_facts, write_shapes
    from worker.bases.folder import from_folder

    source = Path(reference) if Path(reference).is_dir() else Path(snapshot_download(reference))
    if (source / "shapes.json").exists():
        return source
    out.mkdir()
    found = from_folder(source, out)
    write_shapes(out)
    write_facts(out, licence=found.licence, source=reference, revision=None, remark=found.remark)
    return out


if __name__ == "__main__":
    main()
