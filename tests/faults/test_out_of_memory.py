"""R17 with a real training: out of the host's memory, once more in a new child of the same claim, then a clear end."""

import json

from sqlalchemy import select

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import BaseModel, JobEvent
from models.domain.errors import Code
from models.domain.job import JobKind, JobState, Lane
from models.domain.training import DataSpec, Quantisation, ScheduleSpec, TrainingSpec
from models.infra.storage import SHARED, Storage
from tests.harness import House, open_sqlite_house
from tests.tiny import tiny_base
from worker.jobdir import JobDir

ROW = {"messages": [{"role": "user", "content": "q" * 380}, {"role": "assistant", "content": "a" * 60}]}


def submit(house: House, folder, schedule: ScheduleSpec) -> str:
    """Rows of about 470 tokens for a base whose activations are most of what a pass takes."""
    storage = Storage(house.settings.storage)
    tree, listing = storage.put_tree(SHARED, tiny_base(folder, hidden=256, layers=8))
    content = b"".join(json.dumps(ROW | {"n": number}).encode() + b"\n" for number in range(16))
    rows = storage.put_bytes(SHARED, content)
    with house.database.write() as session:
        store = TeamStore(session, SystemStore(session).principal())
        base = BaseModel(
            id="base-wide", name="wide", source="local", reference="wide", scope=SHARED, tree_sha256=tree.sha256,
            size=listing.total_bytes, facts={}, shapes=json.loads((folder / "shapes.json").read_text()),
        )  # fmt: skip
        session.add(base)
        file = store.add_file(
            filename="rows.jsonl", purpose="fine-tune", scope=SHARED, sha256=rows.sha256, size=rows.size
        )
        file.status, file.format = "processed", "messages"
        spec = TrainingSpec(
            base="base-wide", data=DataSpec(training_file=file.id, validation_fraction=0), schedule=schedule,
            quantisation=Quantisation.NONE,
        )  # fmt: skip
        job = store.submit(JobKind.TRAIN, spec.model_dump(mode="json"))
    house.accepted.append(job.id)
    house.broker.ring(Lane.JOBS)
    return job.id


def remarks(house: House, job: str) -> str:
    with house.database.read() as session:
        return "\n".join(session.scalars(select(JobEvent.message).where(JobEvent.job_id == job)))


def test_a_training_over_the_hosts_limit_goes_on_once_with_half_as_much_at_once_and_then_ends_clearly(tmp_path):
    """A limit under what any pass needs: the second process fails too, and the worker lives."""
    with open_sqlite_house(tmp_path, memory_limit_bytes=400 * 10**6, compute_dtype="fp32", threads=1) as house:
        [worker] = house.start_workers(1)
        job = submit(house, tmp_path / "base", ScheduleSpec(epochs=1, batch_rows=16, micro_batch_rows=16))
        house.wait_until_all_ended()
        house.history().check(expected=JobState.FAILED)
        row = house.job(job)
        assert (row.error["code"], row.attempts, row.fence) == (Code.OUT_OF_MEMORY, 0, 1)
        assert "once more with half as many rows" in row.error["message"]
        assert remarks(house, job).count("ran out of memory; going on once") == 1
        assert JobDir(house.settings.jobs_dir / job / "1").order().halvings == 1
        assert worker.process.poll() is None
