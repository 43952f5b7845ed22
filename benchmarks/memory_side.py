"""Trainings of benchmarks/memory.py, each in a process of its own: what memory it took, phase by phase.

    python -m benchmarks.memory_side

Reads job directories that a supervisor could have laid, one a line, and prints a line of JSON for each: the process
with everything loaded and nothing begun (`empty_bytes`), the highest resident memory in each phase (`phases`) and of
all of it (`peak_bytes`). Resident memory is the kernel's VmHWM, in which a page counts once. Each training runs in a
fork of a process that has loaded the libraries and computed nothing, as a worker's standby child has.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from models.domain.progress import PhaseBegan, Said
from worker.importing import importing
from worker.jobdir import JobDir
from worker.stop import Stop


class Watched(JobDir):
    """Notes the height of memory whenever a phase begins, and begins to measure anew."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.phases: dict[str, int] = {}
        self._phase = "before"

    def say(self, said: Said) -> None:
        if isinstance(said, PhaseBegan):
            self.look(said.phase)
        super().say(said)

    def look(self, phase: str) -> None:
        self.phases[self._phase] = max(self.phases.get(self._phase, 0), resident("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")
        self._phase = phase


def resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def main() -> None:
    with importing():
        import worker.train.run  # noqa: F401 - once for all
    libraries = resident("RssFile")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            measure(Path(line.strip()), libraries)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"status": f"ended with {os.waitstatus_to_exitcode(status)}"}), flush=True)


def measure(directory: Path, libraries: int) -> NoReturn:
    """Never returns. A fork maps the libraries' pages when it touches them: what it lacks of them is counted, too."""
    from worker.train.run import run

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they like
    empty = resident("VmRSS") - resident("RssFile") + libraries
    jobdir = Watched(directory)
    try:
        outcome = run(jobdir, Stop())
    except Exception:  # noqa: BLE001 - whatever it is, the table has to say so
        traceback.print_exc()
        os._exit(1)
    jobdir.look("after")
    lacking = max(0, libraries - resident("RssFile"))
    phases = {phase: peak + lacking for phase, peak in jobdir.phases.items()}
    said = {"status": outcome.status, "empty_bytes": empty, "peak_bytes": max(phases.values()), "phases": phases}
    out.write(json.dumps(said) + "\n")
    out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
