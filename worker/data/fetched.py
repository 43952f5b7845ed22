"""The job kind FETCH_DATA: what the supervisor downloaded into in/source/ becomes out/files/. Reads no row."""

from pathlib import Path
from typing import Protocol

from models.domain.errors import Code, JobFailed
from models.domain.job import Phase
from models.domain.progress import PhaseBegan
from worker.jobdir import JobDir, Outcome

FILES = "files"


class Stop(Protocol):
    """Says whether the supervisor wants the work to end."""

    def asked(self) -> bool: ...


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """Succeeds with the files' sizes. `order.facts["files"]` names them as the hub does; they lie numbered from 0."""
    names = list(jobdir.order().facts["files"])
    jobdir.say(PhaseBegan(phase=Phase.SAVING))
    if stop.asked():
        return Outcome(status="stopped")
    made = jobdir.out / FILES
    made.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        path = jobdir.inputs / "source" / str(place)
        if not path.is_file() or not path.stat().st_size:
            refusal = JobFailed(f"{name} of the hub is empty. Choose another split.", code=Code.INVALID_FILE)
            return Outcome(status="failed", error=refusal.to_json())
        _link(path, made / str(place))
    sizes = [(made / str(place)).stat().st_size for place in range(len(names))]
    return Outcome(status="succeeded", result={"bytes": sizes})


def _link(path: Path, destination: Path) -> None:
    destination.unlink(missing_ok=True)
    destination.hardlink_to(path)
