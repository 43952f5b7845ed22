"""Builders of runs: trainings that are claimed and fed as a worker does it, without a worker."""

import math
from datetime import UTC, datetime, timedelta

from models.db.store.artefacts import NewAdapter
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Job
from models.domain.errors import AppError
from models.domain.job import JobKind, JobState, Lane, Phase
from models.domain.progress import Evaluated, PhaseBegan, Said, StepDone
from models.domain.training import DataSpec, ScheduleSpec, TrainingSpec
from tests.house import House, Person


class Run:
    """One training of `person`. It waits until `claim`; `feed` says steps; `settle` ends it."""

    def __init__(self, house: House, person: Person, *, base: str, suffix: str | None = None, **schedule) -> None:
        self.house = house
        self.file = house.upload(person, f"{suffix or 'rows'}.jsonl").json()["id"]
        spec = TrainingSpec.model_validate(
            {
                "base": base,
                "data": DataSpec.model_validate({"training_file": self.file}),
                "schedule": ScheduleSpec(**schedule),
                "suffix": suffix,
            }
        )
        with house.deps.database.write() as session:
            # A high priority: the builders' claims are by policy and must find this one.
            job = TeamStore(session, person.principal).submit(JobKind.TRAIN, spec.model_dump(mode="json"), priority=8)
        self.id, self.fence, self.base = job.id, 0, base

    @property
    def job(self) -> Job:
        with self.house.deps.database.read() as session:
            return session.get_one(Job, self.id)

    def claim(self, worker: str = "worker-test") -> "Run":
        """Take it as a worker does. Nothing else of its lane may wait before it."""
        with self.house.deps.database.write() as session:
            store = SystemStore(session)
            job = store.claim(Lane.JOBS, worker, 600)
            assert job is not None and job.id == self.id, "another job stood before this one"
        self.fence = job.fence
        self.say(PhaseBegan(phase=Phase.LOADING))
        return self

    def say(self, *said: Said, log: str | None = None) -> None:
        with self.house.deps.database.write() as session:
            SystemStore(session).record(self.id, self.fence, said, log_tail=log)

    def feed(
        self, steps: range, total: int, *, seconds_each: float = 0.5, until: datetime | None = None, every: int = 0
    ) -> "Run":
        """Steps whose loss falls, the last of them done at `until`; held-out losses each `every` steps."""
        until = until or datetime.now(UTC)
        said: list[Said] = [PhaseBegan(phase=Phase.TRAINING)]
        for step in steps:
            at = until - timedelta(seconds=(steps[-1] - step) * seconds_each)
            value = 0.4 + 2.1 * math.exp(-4 * step / total) + 0.06 * math.sin(step * 1.7)
            said.append(
                StepDone(
                    step=step, total_steps=total, epoch=step / total * 3, loss_per_token=value,
                    grad_norm=0.7 + 0.3 * math.sin(step / 5), learning_rate=2e-4 * (1 - step / (total + 1)),
                    trained_tokens=420 + step % 40, step_seconds=seconds_each, at=at,
                )
            )  # fmt: skip
            if every and step % every == 0:
                said.append(Evaluated(step=step, loss_per_token=value + 0.12, trained_tokens=900, at=at))
        self.say(*said)
        return self

    def fail(self, error: AppError) -> "Run":
        with self.house.deps.database.write() as session:
            SystemStore(session).settle(self.id, self.fence, JobState.FAILED, error=error)
        return self

    def succeed(self) -> "Run":
        return self._end(JobState.SUCCEEDED)

    def cancelled(self) -> "Run":
        """Ended as asked, with the adapter so far."""
        return self._end(JobState.CANCELLED, is_partial=True)

    def _end(self, state: JobState, **partial: bool) -> "Run":
        tree = self.house._tree("team/test", {"adapter_model.safetensors": b"weights"})
        suffix = self.job.spec["suffix"]
        manifest = {"method": "lora"}
        new = NewAdapter(
            stored=tree, base_id=self.base, quantisation="nf4", suffix=suffix, manifest=manifest, **partial
        )  # fmt: skip
        with self.house.deps.database.write() as session:
            SystemStore(session).settle(self.id, self.fence, state, artefact=new)
        return self
