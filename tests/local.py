"""Trainings without a server, for tests: settings as YAML, and the child's work done in this process."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.db.store.system import SystemStore
from models.domain.job import JobKind, Lane
from models.domain.local_training import LocalEnded, LocalRequest
from models.domain.progress import Said
from models.domain.reading import Reading
from models.infra.settings import Settings
from tests.house import House
from tests.training import conversations, losses
from webapp.commands.train_order import Given, order
from worker.cache import Cache
from worker.jobdir import JobDir, Order
from worker.laying import Shelf
from worker.lease import Lease
from worker.local.following import Asked, Followed, Interrupted, Stopping
from worker.local.training import trained
from worker.staging import stage
from worker.stop import Stop

YAML = """\
base: base-01jtheteamsown
data:
  training_file: rows.jsonl
  validation_fraction: 0.25
quantisation: none
method:
  name: lora
  options: {rank: 4, alpha: 8, dropout: 0.1}
schedule: {epochs: 2, batch_rows: 4, learning_rate: 0.01, save_every: 2}
names: {base: tiny}
"""


def write_rows(path: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in (conversations(16) if rows is None else rows)))
    return path


def request(folder: Path, base: Path | str | None, out: Path, text: str = YAML, **given: Any) -> LocalRequest:
    """As the command makes it of a YAML file in `folder`; one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.yaml").write_text(text)
    told: dict[str, Any] = {"data": [], "validation": [], "reading": Reading(), "is_resumed": False} | given
    asked = Given(job=folder / "job.yaml", out=out, base=str(base) if base else None, **told)
    return order(asked, Settings(threads=1), began_at=0).model_copy(update={"cache": str(folder / "cache")})


def train(asked: LocalRequest, *, stop_after: int | None = None) -> tuple[LocalEnded, list[Any]]:
    """How it ended, and what was told. `stop_after`: a person asks for the end after so many steps."""
    told: list[Any] = []

    def run_child(
        jobdir: JobDir, threads: int, limit_bytes: int, stop: Stopping, tell: Callable[[Said], None]
    ) -> Followed:
        """What `worker.child` does with a directory, without a process of its own and the wait for its imports."""
        if jobdir.order().kind is JobKind.ADD_BASE:
            from worker.bases.convert import run
        else:
            from worker.train.run import run

        jobdir.log.touch()
        heard = jobdir.events.stat().st_size if jobdir.events.exists() else 0
        outcome = run(jobdir, _StopAfter(jobdir, stop_after))
        jobdir.finish(outcome)
        for said in jobdir.said_since(heard)[0]:
            tell(said)
        if outcome.status == "stopped":
            raise Interrupted
        return Followed(outcome=outcome, peak_bytes=1)

    return trained(asked, Asked(), told.append, run_child), told


class _StopAfter(Stop):
    """Asked for as soon as `step` has been taken."""

    def __init__(self, jobdir: JobDir, step: int | None) -> None:
        super().__init__()
        self._jobdir, self._step = jobdir, step

    def asked(self) -> bool:
        return self._step is not None and self._step in losses(self._jobdir)


def staged(house: House, folder: Path) -> JobDir:
    """The training that waits in the house, laid out as a supervisor does, with one thread."""
    deps = house.deps
    with deps.database.write() as session:
        job = SystemStore(session).claim(Lane.JOBS, "worker-a", 60)
        assert job is not None and job.kind == JobKind.TRAIN
    jobdir = JobDir(folder / "job")
    jobdir.root.mkdir()
    deps.settings.jobs_dir.mkdir(exist_ok=True)
    lease = Lease(deps.database, deps.settings, job, jobdir, time.monotonic())
    cache = Cache(deps.settings, deps.storage)
    shelf = Shelf(settings=deps.settings, storage=deps.storage, cache=cache, lease=lease, watch=lambda: None)
    facts = stage(shelf, job, jobdir)
    jobdir.lay_out(Order(job=job.id, fence=1, kind=JobKind.TRAIN, payload=job.spec, facts=facts))
    return jobdir
