"""R1 and P4 with a real training: its worker is killed -9, another one ends it, and the adapter has the same bytes.

On SQLite and PostgreSQL, one kill each, fp32, one thread; the toy-sized R1 has the larger counts.
"""

from pathlib import Path

from models import samples
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import BaseModel
from models.domain.chat import TreeRef
from models.domain.job import JobKind, JobState, Lane
from models.domain.training import DataSpec, ScheduleSpec, TrainingSpec
from models.infra.storage import SHARED, Storage
from tests.harness import House, open_house, wait_for
from tests.tiny import tiny_base

SCHEDULE = ScheduleSpec(epochs=2, batch_rows=4, learning_rate=0.01, save_every=10, evaluate_every=20)


def test_a_killed_training_ends_on_another_worker_as_if_nothing_had_happened(tmp_path, database_url):
    with open_house(tmp_path / "house", database_url, compute_dtype="fp32", threads=1) as house:
        spec = stored_spec(house, tmp_path)
        undisturbed, killed = submit(house, spec), submit(house, spec)
        first = house.start_worker()
        wait_for(lambda: house.job(killed).state == JobState.RUNNING and checkpoints(house, killed), 90)
        first.kill()
        house.start_worker()
        house.wait_until_all_ended()
        house.history().check()
        assert [house.job(job).attempts for job in (undisturbed, killed)] == [0, 1]
        assert weights(house, killed) == weights(house, undisturbed)
        assert losses(house, killed) == losses(house, undisturbed)
        assert min(house.steps_of(killed, 2)) > 1  # it went on, and did not begin again


def stored_spec(house: House, tmp_path: Path) -> TrainingSpec:
    """A tiny base and the sample rows, in storage and in the database."""
    storage, principal = Storage(house.settings.storage), None
    folder = tiny_base(tmp_path / "tiny")
    tree, listing = storage.put_tree(SHARED, folder)
    rows = storage.put_file(SHARED, samples.path("larkspur-facts"))
    with house.database.write() as session:
        principal = SystemStore(session).principal()
        base = BaseModel(
            id="base-tiny", name="tiny", source="local", reference="tiny", scope=SHARED, tree_sha256=tree.sha256,
            size=listing.total_bytes, facts={}, shapes={},
        )  # fmt: skip
        session.add(base)
        file = TeamStore(session, principal).add_file(
            filename="rows.jsonl", purpose="fine-tune", scope=SHARED, sha256=rows.sha256, size=rows.size
        )
        file.status, file.format = "processed", "messages"
    data = DataSpec(training_file=file.id, validation_fraction=0.1)
    return TrainingSpec(base="base-tiny", data=data, schedule=SCHEDULE)


def submit(house: House, spec: TrainingSpec) -> str:
    with house.database.write() as session:
        store = TeamStore(session, SystemStore(session).principal())
        job = store.submit(JobKind.TRAIN, spec.model_dump(mode="json"))
    house.accepted.append(job.id)
    house.broker.ring(Lane.JOBS)
    return job.id


def checkpoints(house: House, job: str) -> list[int]:
    with house.database.read() as session:
        return [point.step for point in SystemStore(session).checkpoints(job)]


def weights(house: House, job: str) -> str:
    """The hash of the adapter's weight file."""
    with house.database.read() as session:
        adapter = SystemStore(session).adapter_of_job(job)
        assert adapter is not None
    listing = Storage(house.settings.storage).listing(TreeRef(scope=adapter.scope, sha256=adapter.tree_sha256))
    return next(file.sha256 for file in listing.files if file.path == "adapter_model.safetensors")


def losses(house: House, job: str) -> list[tuple[int, float]]:
    with house.database.read() as session:
        store = TeamStore(session, SystemStore(session).principal())
        points = [*store.metrics(job, "train_loss"), *store.metrics(job, "eval_loss")]
    return [(point.step, point.value) for point in points]
