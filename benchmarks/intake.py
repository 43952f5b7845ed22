"""Stage 1 of the data gate over a generated alpaca file, 490 MB of JSON lines: rows a second and peak memory.

    python -m benchmarks.intake [--rows 1000000]

Writes the file first, then measures what a check job does to it in a process of its own that is held to one core:
sha256 of the file, then parse, detect, check every field, write Parquet. Writes benchmarks/intake.json. Rows a second
are by processor time, so that a busy machine does not count; the time on the clock is there as well. The goal is 30,000
rows a second in 600 MB.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.rows_file import write_rows
from models.domain.reading import Reading

RESULT = Path(__file__).with_suffix(".json")


def measure(file: Path) -> dict[str, Any]:
    """In this process, on one core: what it used is what stage 1 took, imports and all."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began, cpu_began = time.monotonic(), time.process_time()

    from worker.data.intake import prepare
    from worker.jobdir import sha256_of

    sha256_of(file)
    hashed = time.process_time()
    report = prepare([(file.name, file)], Reading(), file.with_name("rows.parquet"))
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    size = file.stat().st_size
    return {
        "rows": report.rows, "usable_rows": report.usable_rows, "format": report.format, "file_mb": round(size / 1e6),
        "cpu_seconds": round(cpu_seconds, 1), "seconds": round(seconds, 1),
        "sha256_cpu_seconds": round(hashed - cpu_began, 1),
        "rows_per_cpu_second": round(report.rows / cpu_seconds), "rows_per_second": round(report.rows / seconds),
        "mb_per_cpu_second": round(size / 1e6 / cpu_seconds, 1), "mb_per_second": round(size / 1e6 / seconds, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "prepared_mb": round(file.with_name("rows.parquet").stat().st_size / 1e6),
    }  # fmt: skip


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--rows", type=int, default=1_000_000)
    told.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    wish = told.parse_args()
    if wish.measure:
        print(json.dumps(measure(wish.measure)))
        return
    with tempfile.TemporaryDirectory(prefix="tr-intake-") as folder:
        rows = Path(folder) / "rows.jsonl"
        with rows.open("w", encoding="utf-8") as file:
            write_rows(file, wish.rows)
        command = [sys.executable, "-m", "benchmarks.intake", "--measure", str(rows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        **json.loads(done.stdout),
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        print(f"{name:<20} {value}")


if __name__ == "__main__":
    main()
