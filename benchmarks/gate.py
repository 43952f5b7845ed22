"""Stage 2 of the data gate over a million generated rows, 490 MB as a file: rows a second and peak memory.

    python -m benchmarks.gate [--rows 1000000]

Makes the prepared rows first, then measures `worker.data.gate.run.check` in a process of its own with one thread.
Writes benchmarks/gate.json. Rows a second are by processor time, so that a busy machine does not count; the time on
the clock is there as well. The goal is 5,000 rows a second in 1 GB.
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

from benchmarks.rows_file import alpaca_rows
from models.catalog.formats import FORMATS
from models.catalog.prepared import Prepared, PreparedWriter

RESULT = Path(__file__).with_suffix(".json")


def prepare(path: Path, rows: int) -> None:
    writer = PreparedWriter(path)
    parse = FORMATS["alpaca"].parse
    for number, row in enumerate(alpaca_rows(rows), start=1):
        writer.add_example(number, parse(row))
    writer.close()


def measure(folder: Path) -> dict[str, Any]:
    """In this process: what it used is what stage 2 took."""
    from worker.data.gate.run import check

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu_began = time.monotonic(), time.process_time()
    report = check(Prepared(folder / "rows.parquet"), folder / "gate.parquet")
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": report.rows, "cpu_seconds": round(cpu_seconds, 1), "seconds": round(seconds, 1),
        "rows_per_cpu_second": round(report.rows / cpu_seconds), "rows_per_second": round(report.rows / seconds),
        "peak_rss_mb": round(peak / 1000), "rss_before_mb": round(before / 1000),
        "duplicates": report.duplicates, "near_rows": report.near_rows, "near_groups": report.near_groups,
        "near_checked": report.near_checked, "findings": {found.kind: found.count for found in report.findings},
        "gate_parquet_mb": round((folder / "gate.parquet").stat().st_size / 1e6, 1),
    }  # fmt: skip


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--rows", type=int, default=1_000_000)
    told.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    wish = told.parse_args()
    if wish.measure:
        print(json.dumps(measure(wish.measure)))
        return
    with tempfile.TemporaryDirectory(prefix="tr-gate-") as folder:
        prepare(Path(folder) / "rows.parquet", wish.rows)
        command = [sys.executable, "-m", "benchmarks.gate", "--measure", folder]
        threads = {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
        done = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, check=True)
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
