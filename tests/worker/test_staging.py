"""What each kind of job finds in in/ and in its order, what becomes of out/, and which checkpoint is taken."""

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from models.db.store.artefacts import NewBase, Stored, adapter_id_of
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Adapter, BaseModel, Blob, DatasetVersion, Job
from models.domain.errors import AppError, Code, Conflict, JobFailed
from models.domain.job import JobKind, JobState
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from tests.harness import TENTH
from tests.house import SHAPES
from worker.cache import Cache
from worker.data.source import Source
from worker.jobdir import REQUIRED_IN_CHECKPOINT, JobDir, Outcome, seal_checkpoint
from worker.laying import Shelf
from worker.lease import Lease
from worker.settling import blobs_of, refused_file, store_result
from worker.staging import stage, stage_checkpoint

ROWS = b'{"messages": []}\n'


class Bench:
    """A database, a storage and one claimed job after another, without a worker."""

    def __init__(self, database, tmp_path: Path) -> None:
        self.database, self.home = database, tmp_path
        self.settings = Settings(data_dir=tmp_path, **TENTH)
        self.storage = Storage(self.settings.storage)
        self.cache = Cache(self.settings, self.storage)

    def system(self, session) -> TeamStore:
        return TeamStore(session, SystemStore(session).principal())

    def claim(self, kind: JobKind, spec: dict) -> tuple[Job, JobDir]:
        with self.database.write() as session:
            self.system(session).submit(kind, spec)
        with self.database.write() as session:
            lane = "light" if kind in (JobKind.CHECK_DATA, JobKind.ADD_BASE) else "jobs"
            job = SystemStore(session).claim(lane, "worker-a", 60)
        jobdir = JobDir(self.settings.jobs_dir / job.id / str(job.fence))
        jobdir.root.mkdir(parents=True)
        return job, jobdir

    def shelf(self, job: Job, jobdir: JobDir) -> Shelf:
        lease = Lease(self.database, self.settings, job, jobdir, time.monotonic())
        return Shelf(
            settings=self.settings, storage=self.storage, cache=self.cache, lease=lease, watch=lambda: None
        )  # fmt: skip

    def add_file(self, name: str, **columns) -> str:
        ref = self.storage.put_bytes("team/team-default", ROWS + name.encode())
        with self.database.write() as session:
            file = self.system(session).add_file(
                filename=name, purpose="fine-tune", scope=ref.scope, sha256=ref.sha256, size=ref.size
            )
            for column, value in columns.items():
                setattr(file, column, value)
            return file.id

    def stored(self, name: str, scope: str = SHARED) -> Stored:
        folder = self.home / f"made-{name}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"name": name}))
        ref, listing = self.storage.put_tree(scope, folder)
        return Stored(scope=scope, tree_sha256=ref.sha256, size=listing.total_bytes)

    def add_base(self, name: str = "tiny") -> BaseModel:
        job, _ = self.claim(JobKind.ADD_BASE, {"name": name, "source": "local", "reference": "/x"})
        base = NewBase(
            stored=self.stored(name), name=name, description="", source="local", reference="/x", revision=None,
            licence=None, facts={}, shapes=SHAPES,
        )  # fmt: skip
        with self.database.write() as session:
            SystemStore(session).settle(job.id, job.fence, JobState.SUCCEEDED, artefact=base)
        with self.database.read() as session:
            return session.scalars(select(BaseModel).where(BaseModel.name == name)).one()

    def train(self, base: BaseModel, **data) -> tuple[Job, JobDir]:
        return self.claim(JobKind.TRAIN, {"base": base.id, "data": data})

    def settle(self, job: Job, made) -> None:
        with self.database.write() as session:
            SystemStore(session).settle(job.id, job.fence, JobState.SUCCEEDED, artefact=made.artefact, blobs=made.blobs)

    def checkpoint(self, parent: Path, step: int) -> Path:
        staged, final = parent / f".tmp-{step}", parent / f"step-{step:08d}"
        staged.mkdir(parents=True)
        for name in REQUIRED_IN_CHECKPOINT:
            (staged / name).write_text(f"{name} {step}")
        seal_checkpoint(staged, final, step=step, fence=1, versions={}, facts={"threads": 3})
        return final

    def upload_checkpoint(self, job: Job, step: int) -> None:
        ref, listing = self.storage.put_tree("team/team-default", self.checkpoint(self.home / "made", step))
        with self.database.write() as session:
            SystemStore(session).checkpoint_saved(
                job.id, job.fence, step=step, scope=ref.scope, tree_sha256=ref.sha256, size=1,
                blobs=blobs_of(ref, listing),
            )  # fmt: skip


@pytest.fixture
def bench(database, tmp_path) -> Bench:
    return Bench(database, tmp_path)


def test_a_training_finds_its_base_and_rows_and_their_hashes(bench):
    base = bench.add_base()
    rows = bench.add_file("rows.jsonl", format="messages", status="processed")
    job, jobdir = bench.train(base, training_file=rows, validation_file=bench.add_file("held.jsonl"))
    facts = stage(bench.shelf(job, jobdir), job, jobdir)
    assert json.loads((jobdir.inputs / "base" / "config.json").read_text()) == {"name": "tiny"}
    training, validation = (Source(jobdir.inputs / name) for name in ("train", "validation"))
    assert laid(training) == ROWS + b"rows.jsonl" and laid(validation) == ROWS + b"held.jsonl"
    assert (facts["base_name"], facts["base_tree_sha256"]) == ("tiny", base.tree_sha256)
    assert training.facts.version == rows and training.name == "rows.jsonl"
    training.verify(Code.INVALID_TRAINING_FILE)


def laid(source: Source) -> bytes:
    """The only file of a version that is not prepared yet."""
    ((_, path),) = source.files()
    return path.read_bytes()


def test_a_file_known_to_be_broken_fails_the_training_in_words(bench):
    rows = bench.add_file("rows.jsonl", status="error", status_details="row 3 is no JSON.")
    job, jobdir = bench.train(bench.add_base(), training_file=rows)
    with pytest.raises(JobFailed, match=r"rows\.jsonl cannot be used: row 3") as refusal:
        stage(bench.shelf(job, jobdir), job, jobdir)
    assert refusal.value.code == Code.INVALID_TRAINING_FILE


def test_an_adapter_comes_of_a_training_and_a_merge_finds_it_with_its_rows(bench):
    rows = bench.add_file("rows.jsonl", format="messages")
    job, jobdir = bench.train(bench.add_base(), training_file=rows)
    jobdir.out.mkdir()
    (jobdir.out / "manifest.json").write_text('{"seed": 1}')
    bench.settle(job, store_result(bench.storage, job, jobdir, Outcome(status="succeeded")))
    merge, mergedir = bench.claim(JobKind.MERGE, {"adapter": adapter_id_of(job.id)})
    stage(bench.shelf(merge, mergedir), merge, mergedir)
    assert (mergedir.inputs / "adapter" / "manifest.json").read_text() == '{"seed": 1}'
    assert laid(Source(mergedir.inputs / "heldout")) == ROWS + b"rows.jsonl"
    with bench.database.read() as session:
        adapter = session.get_one(Adapter, adapter_id_of(job.id))
        assert (adapter.manifest, adapter.is_partial, adapter.scope) == ({"seed": 1}, False, "team/team-default")
        assert session.get(Blob, (adapter.scope, adapter.tree_sha256)).is_tree


@pytest.mark.parametrize(("gone", "heard"), [(["held"], "rows.jsonl"), (["held", "rows"], None)])
def test_a_merge_is_not_listened_to_on_rows_that_were_deleted_since(bench, gone, heard):
    files = {name: bench.add_file(f"{name}.jsonl", format="messages") for name in ("rows", "held")}
    job, jobdir = bench.train(bench.add_base(), training_file=files["rows"], validation_file=files["held"])
    jobdir.out.mkdir()
    (jobdir.out / "manifest.json").write_text("{}")
    bench.settle(job, store_result(bench.storage, job, jobdir, Outcome(status="succeeded")))
    with bench.database.write() as session:
        for name in gone:
            bench.system(session).delete_file(files[name])
    for path in list(bench.home.glob("storage/team/**/*")) if heard is None else []:
        if path.is_file() and path.read_bytes().startswith(ROWS):
            path.unlink()  # cleared away
    merge, mergedir = bench.claim(JobKind.MERGE, {"adapter": adapter_id_of(job.id)})
    stage(bench.shelf(merge, mergedir), merge, mergedir)
    assert (mergedir.inputs / "heldout").exists() is (heard is not None)
    if heard is not None:
        assert laid(Source(mergedir.inputs / "heldout")) == ROWS + heard.encode()


def test_a_success_that_left_nothing_is_no_success(bench):
    job, jobdir = bench.train(bench.add_base(), training_file=bench.add_file("rows.jsonl"))
    jobdir.out.mkdir()
    with pytest.raises(AppError, match="left nothing"):
        store_result(bench.storage, job, jobdir, Outcome(status="succeeded"))


def test_a_base_whose_name_was_taken_meanwhile_changes_nothing(bench):
    bench.add_base("tiny")
    job, _ = bench.claim(JobKind.ADD_BASE, {"name": "tiny", "source": "local", "reference": "/y"})
    again = NewBase(
        stored=bench.stored("other"), name="tiny", description="", source="local", reference="/y", revision=None,
        licence=None, facts={}, shapes=SHAPES,
    )  # fmt: skip
    with pytest.raises(Conflict, match="exists already"), bench.database.write() as session:
        SystemStore(session).settle(job.id, job.fence, JobState.SUCCEEDED, artefact=again)
    with bench.database.read() as session:
        assert session.get_one(Job, job.id).state == JobState.RUNNING


def test_a_checked_file_learns_its_verdict(bench):
    file = bench.add_file("rows.jsonl")
    job, jobdir = bench.claim(JobKind.CHECK_DATA, {"file": file})
    stage(bench.shelf(job, jobdir), job, jobdir)
    assert laid(Source(jobdir.inputs / "data")) == ROWS + b"rows.jsonl"
    jobdir.out.mkdir()
    (jobdir.out / "rows.parquet").write_bytes(b"prepared")
    report = {"format": "messages", "rows": 2, "usable_rows": 1, "problems": []}
    bench.settle(job, store_result(bench.storage, job, jobdir, Outcome(status="succeeded", result=report)))
    with bench.database.read() as session:
        row = session.get_one(DatasetVersion, file)
        assert (row.status, row.format, row.rows, row.usable_rows) == ("processed", "messages", 2, 1)
        assert session.get(Blob, (row.scope, row.rows_sha256)).size == row.rows_size == 8


def test_only_a_fault_of_the_file_marks_the_file(bench):
    job, _ = bench.claim(JobKind.CHECK_DATA, {"file": bench.add_file("rows.jsonl")})
    assert refused_file(job, JobFailed("broken", code=Code.INVALID_FILE)).details == "broken"
    assert refused_file(job, JobFailed("the worker broke", code=Code.INTERNAL)) is None


def test_the_newest_checkpoint_is_taken_from_disk_or_from_storage(bench):
    job, jobdir = bench.train(bench.add_base(), training_file=bench.add_file("rows.jsonl"))
    bench.upload_checkpoint(job, 4)
    bench.checkpoint(jobdir.root.parent / "0" / "checkpoints", 6)
    resume_from, manifest = stage_checkpoint(bench.shelf(job, jobdir), job, jobdir)
    assert (resume_from, manifest.step, manifest.facts) == ("checkpoints/step-00000006", 6, {"threads": 3})
    assert (jobdir.root / resume_from / "optimizer.pt").read_text() == "optimizer.pt 6"


@pytest.mark.parametrize("name", ["manifest.json", "optimizer.pt", "rng_state.pth"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_is_said(bench, name):
    job, jobdir = bench.train(bench.add_base(), training_file=bench.add_file("rows.jsonl"))
    bench.upload_checkpoint(job, 4)
    damaged = bench.checkpoint(jobdir.root.parent / "0" / "checkpoints", 6)
    (damaged / name).write_text("x")
    resume_from, _ = stage_checkpoint(bench.shelf(job, jobdir), job, jobdir)
    assert resume_from == "checkpoints/step-00000004"
    assert any("step 6 is passed over" in said.text for said in jobdir.said_since(0)[0])


def test_without_a_checkpoint_the_job_begins_anew(bench):
    job, jobdir = bench.train(bench.add_base(), training_file=bench.add_file("rows.jsonl"))
    assert stage_checkpoint(bench.shelf(job, jobdir), job, jobdir) is None
