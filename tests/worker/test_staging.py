"""What each kind of job finds in in/ and in its order, what becomes of out/, and which checkpoint is taken."""

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from models.db.store.artefacts import NewBase, Overtaken, Stored, adapter_id_of
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Adapter, BaseModel, Blob, DatasetVersion, Job
from models.domain.errors import AppError, Code, Conflict, JobFailed
from models.domain.job import LANE_OF, JobKind, JobState
from models.domain.training import TrainOn
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from tests.harness import TENTH
from tests.house import SHAPES
from worker.cache import Cache
from worker.data.source import Source
from worker.jobdir import REQUIRED_IN_CHECKPOINT, JobDir, Order, Outcome, seal_checkpoint
from worker.laying import Shelf
from worker.lease import Lease
from worker.settling import blobs_of, refused_file, store_result
from worker.staging import stage, stage_checkpoint

ROWS = b'{"messages": []}\n'
GATE = {
    "rows": 2, "duplicates": 1, "near_rows": 0, "near_groups": 0, "near_threshold": 0.8, "near_checked": 2,
    "seconds": 1.0,
}  # fmt: skip
TOKENS = {
    "base_name": "tiny", "rows": 1, "sequences": 1, "total_tokens": 9, "trained_tokens": 4, "lengths": [],
    "percentiles": {"50": 9}, "seconds": 1.0, "tokens_per_second": 9.0,
}  # fmt: skip


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
            job = SystemStore(session).claim(LANE_OF[kind], "worker-a", 60)
            assert job is not None and job.kind == kind
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

    def claim_queued(self, kind: JobKind) -> tuple[Job, JobDir]:
        """One that another job has queued."""
        with self.database.write() as session:
            job = SystemStore(session).claim(LANE_OF[kind], "worker-a", 60)
            assert job is not None and job.kind == kind
        return job, JobDir(self.settings.jobs_dir / job.id / str(job.fence))

    def queued(self, kind: JobKind) -> list[Job]:
        with self.database.read() as session:
            return list(session.scalars(select(Job).where(Job.kind == kind, Job.state == JobState.QUEUED)))

    def checked(self, job: Job, jobdir: JobDir):
        """What a check leaves that found one row good."""
        stage(self.shelf(job, jobdir), job, jobdir)
        jobdir.out.mkdir()
        (jobdir.out / "rows.parquet").write_bytes(b"prepared")
        report = {"format": "messages", "rows": 1, "usable_rows": 1, "problems": []}
        return store_result(self.storage, job, jobdir, Outcome(status="succeeded", result=report))

    def version(self, file_id: str) -> DatasetVersion:
        with self.database.read() as session:
            return session.get_one(DatasetVersion, file_id)

    def newest(self, file_id: str) -> DatasetVersion:
        with self.database.read() as session:
            return SystemStore(session).newest_file(file_id)

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


def test_mixed_datasets_lie_beside_the_first_in_their_order(bench):
    base = bench.add_base()
    first, *others = (bench.add_file(f"{name}.jsonl", status="processed") for name in ("first", "one", "two"))
    job, jobdir = bench.train(base, training_file=first, rows={"mixed": [{"file": file} for file in others]})
    stage(bench.shelf(job, jobdir), job, jobdir)
    laid = [Source(jobdir.inputs / name).facts.version for name in ("train", "mixed-1", "mixed-2")]
    assert laid == [first, *others]
    broken = bench.add_file("broken.jsonl", status="error", status_details="Row 1 is empty.")
    job, jobdir = bench.train(base, training_file=first, rows={"mixed": [{"file": broken}]})
    with pytest.raises(JobFailed, match=r"broken.jsonl cannot be used: Row 1 is empty\."):
        stage(bench.shelf(job, jobdir), job, jobdir)


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
    job, jobdir = bench.claim(JobKind.CHECK_DATA, {"file": bench.add_file("rows.jsonl")})
    refused = lambda error: refused_file(bench.storage, job, jobdir, error).artefact  # noqa: E731
    assert refused(JobFailed("broken", code=Code.INVALID_FILE)).details == "broken"
    assert refused(JobFailed("the worker broke", code=Code.INTERNAL)) is None


def test_of_a_file_without_a_usable_row_the_rows_stay_that_say_what_is_wrong(bench):
    file = bench.add_file("rows.jsonl")
    job, jobdir = bench.claim(JobKind.CHECK_DATA, {"file": file})
    jobdir.out.mkdir()
    (jobdir.out / "rows.parquet").write_bytes(b"prepared")
    made = refused_file(bench.storage, job, jobdir, JobFailed("no row.", code=Code.INVALID_FILE, rows=3, format="text"))
    bench.settle(job, made)
    version = bench.version(file)
    assert (version.status, version.format, version.rows_size) == ("error", "text", 8)
    assert bench.queued(JobKind.GATE_DATA) == []


def test_a_check_that_another_reading_has_overtaken_says_nothing(bench):
    file = bench.add_file("rows.jsonl")
    job, jobdir = bench.claim(JobKind.CHECK_DATA, {"file": file})
    made = bench.checked(job, jobdir)
    with bench.database.write() as session:
        bench.system(session).submit(JobKind.CHECK_DATA, {"file": file})
    bench.settle(job, made)
    assert bench.version(file).status == "uploaded" and bench.queued(JobKind.GATE_DATA) == []


def test_the_gate_follows_the_check_and_finds_the_prepared_rows(bench):
    file = bench.add_file("rows.jsonl")
    job, jobdir = bench.claim(JobKind.CHECK_DATA, {"file": file})
    bench.settle(job, bench.checked(job, jobdir))
    gate, gatedir = bench.claim_queued(JobKind.GATE_DATA)
    assert gate.spec == {"file": file} and gate.priority < job.priority
    stage(bench.shelf(gate, gatedir), gate, gatedir)
    assert (gatedir.inputs / "data" / "rows.parquet").read_bytes() == b"prepared"
    assert not (gatedir.inputs / "data" / "files").exists()
    gatedir.out.mkdir()
    (gatedir.out / "gate.parquet").write_bytes(b"found")
    bench.settle(gate, store_result(bench.storage, gate, gatedir, Outcome(status="succeeded", result=GATE)))
    with bench.database.read() as session:
        report = SystemStore(session).gate_report(file)
        assert (report.kind, report.key, report.size, report.facts["duplicates"]) == ("gate", "", 5, 1)
        assert session.get(Blob, (report.scope, report.sha256)) is not None


def test_counts_are_kept_once_for_each_way_of_writing(bench):
    base, file = bench.add_base(), bench.add_file("rows.jsonl", format="messages", status="processed")
    for train_on, arguments in (("assistant", {}), ("last_turn", {}), ("assistant", {}), ("assistant", {"a": True})):
        spec = {"file": file, "base": base.id, "train_on": train_on, "template_arguments": arguments}
        job, jobdir = bench.claim(JobKind.COUNT_TOKENS, spec)
        facts = stage(bench.shelf(job, jobdir), job, jobdir)
        assert (jobdir.inputs / "base" / "config.json").is_file() and facts["base_name"] == "tiny"
        jobdir.out.mkdir()
        (jobdir.out / "counts.parquet").write_bytes(b"counts")
        bench.settle(job, store_result(bench.storage, job, jobdir, Outcome(status="succeeded", result=TOKENS)))
    with bench.database.read() as session:
        store = bench.system(session)
        assert len(store.reports(file)) == 3
        seen = store.tokens_report(file, base, TrainOn.LAST_TURN, {})
        assert seen.facts["total_tokens"] == 9 and seen.base_id == base.id
        assert store.tokens_report(file, base, TrainOn.LAST_TURN, {"a": True}) is None


def edit_of(bench, job, jobdir) -> None:
    """Stage an edit, and leave what its child leaves."""
    facts = stage(bench.shelf(job, jobdir), job, jobdir)
    jobdir.lay_out(Order(job=job.id, fence=job.fence, kind=JobKind.EDIT_DATA, payload=job.spec, facts=facts))
    (jobdir.out / "data.jsonl").write_bytes(ROWS * 2 + job.id.encode())


EDITED = Outcome(status="succeeded", result={"rows": 2, "format": "alpaca", "reading": {"format": None, "mapping": {}}})


def test_an_edit_becomes_the_next_version_and_its_check_is_queued(bench):
    file = bench.add_file("rows.csv", format="alpaca", status="processed")
    spec = {"file": file, "edits": [{"row": 1, "example": None}], "note": "1 row removed"}
    job, jobdir = bench.claim(JobKind.EDIT_DATA, spec)
    edit_of(bench, job, jobdir)
    bench.settle(job, store_result(bench.storage, job, jobdir, EDITED))
    with bench.database.read() as session:
        (check,) = session.scalars(select(Job).where(Job.kind == JobKind.CHECK_DATA))
        made = session.get_one(DatasetVersion, check.spec["file"])
    assert (made.number, made.filename, made.note, made.made_from) == (2, "rows.jsonl", "1 row removed", file)
    assert (made.status, made.format, made.created_by) == ("uploaded", "alpaca", job.created_by)


def test_two_who_add_rows_at_once_lose_nothing_and_two_who_edit_are_told(bench):
    file = bench.add_file("rows.jsonl", format="alpaca", status="processed")
    added = {"kind": "text", "text": "x"}
    first, firstdir = bench.claim(JobKind.EDIT_DATA, {"file": file, "appended": [added]})
    second, seconddir = bench.claim(JobKind.EDIT_DATA, {"file": file, "appended": [added]})
    third, thirddir = bench.claim(JobKind.EDIT_DATA, {"file": file, "edits": [{"row": 1, "example": None}]})
    for job, jobdir in ((first, firstdir), (second, seconddir), (third, thirddir)):
        edit_of(bench, job, jobdir)
    bench.settle(first, store_result(bench.storage, first, firstdir, EDITED))
    with pytest.raises(Overtaken):
        bench.settle(second, store_result(bench.storage, second, seconddir, EDITED))
    with pytest.raises(Conflict, match="got another version while this one was made from version 1") as refusal:
        bench.settle(third, store_result(bench.storage, third, thirddir, EDITED))
    assert not isinstance(refusal.value, Overtaken)
    facts = stage(bench.shelf(second, seconddir), second, seconddir)  # given back and claimed again
    assert (facts["number"], facts["version"]) == (2, bench.newest(file).id)


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
