"""R1, R9, R10 and R21 with real trainings through the queue, in fp32 on one thread.

One kill -9 of a worker in mid-run with equal bytes at the end (R1, R9), on each database; two of a trainer inside a
save (R10) and four files that cannot be learnt from (R21) on SQLite, for what they ask of a database is what
`test_lost_processes.py` asks of both. The child's own tests have the larger counts.
"""

import json
from pathlib import Path

from sqlalchemy.orm import Session

from models import samples
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import BaseModel
from models.domain.chat import TreeRef
from models.domain.errors import Code
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


def test_a_trainer_killed_inside_a_save_goes_on_by_itself(tmp_path, sqlite_url):
    with open_house(tmp_path / "house", sqlite_url, compute_dtype="fp32", threads=1, max_attempts=9) as house:
        job = submit(house, stored_spec(house, tmp_path))
        worker = house.start_worker()
        for fence in (1, 2):
            staged = house.settings.jobs_dir / job / str(fence) / "checkpoints"
            wait_for(lambda staged=staged: list(staged.glob(".tmp-*/*")), 90, every=0.0005)
            [trainer] = worker.children()
            trainer.kill()
        house.wait_until_all_ended()
        house.history().check()
        assert house.job(job).attempts == 2
        last = house.job(job).fence
        assert house.steps_of(job, last)[-1] == house.job(job).total


def test_rows_that_cannot_be_learnt_from_fail_with_a_sentence_and_leave_no_adapter(tmp_path, sqlite_url):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    files = {
        "empty": b"",
        "one row": rows_of([turns]),
        "all masked": rows_of([[turns[0], {**turns[1], "weight": 0}]] * 12),
        "not rows": b"\x00\xff" * 40,
    }
    with open_house(tmp_path / "house", sqlite_url, compute_dtype="fp32", threads=1, slots=2) as house:
        jobs = {name: submit(house, stored_spec(house, tmp_path, content)) for name, content in files.items()}
        house.start_worker()
        house.wait_until_all_ended()
        house.history().check(expected=JobState.FAILED)
        errors = {name: house.job(job).error for name, job in jobs.items()}
        assert {error["code"] for error in errors.values()} == {Code.INVALID_TRAINING_FILE}
        assert "Row 1" in errors["all masked"]["message"] and "weight 1" in errors["all masked"]["message"]
        assert "1 usable row" in errors["one row"]["message"]
        with house.database.read() as session:
            assert [team_store(session).adapter_of_job(job) for job in jobs.values()] == [None] * 4


def team_store(session: Session) -> TeamStore:
    return TeamStore(session, SystemStore(session).principal())


def rows_of(conversations: list[list[dict]]) -> bytes:
    return b"".join(json.dumps({"messages": turns}).encode() + b"\n" for turns in conversations)


def stored_spec(house: House, tmp_path: Path, content: bytes | None = None) -> TrainingSpec:
    """A tiny base and these rows (or the sample's), in storage and in the database."""
    storage = Storage(house.settings.storage)
    folder = tmp_path / "tiny"
    tree, listing = storage.put_tree(SHARED, folder if folder.exists() else tiny_base(folder))
    if content is None:
        content = samples.path("larkspur-facts").read_bytes()
    rows = storage.put_bytes(SHARED, content)
    with house.database.write() as session:
        principal = SystemStore(session).principal()
        base = BaseModel(
            id="base-tiny", name="tiny", source="local", reference="tiny", scope=SHARED, tree_sha256=tree.sha256,
            size=listing.total_bytes, facts={}, shapes=json.loads((folder / "shapes.json").read_text()),
        )  # fmt: skip
        session.merge(base)
        file = TeamStore(session, principal).add_file(
            filename="rows.jsonl", purpose="fine-tune", scope=SHARED, sha256=rows.sha256, size=rows.size
        )
        file.status, file.format = "processed", "messages"
    data = DataSpec(training_file=file.id, validation_fraction=0.1)
    return TrainingSpec(base="base-tiny", data=data, schedule=SCHEDULE)


def submit(house: House, spec: TrainingSpec) -> str:
    with house.database.write() as session:
        store = team_store(session)
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
        adapter = team_store(session).adapter_of_job(job)
        assert adapter is not None
    listing = Storage(house.settings.storage).listing(TreeRef(scope=adapter.scope, sha256=adapter.tree_sha256))
    return next(file.sha256 for file in listing.files if file.path == "adapter_model.safetensors")


def losses(house: House, job: str) -> list[tuple[int, float]]:
    with house.database.read() as session:
        store = team_store(session)
        points = [*store.metrics(job, "train_loss"), *store.metrics(job, "eval_loss")]
    return [(point.step, point.value) for point in points]
