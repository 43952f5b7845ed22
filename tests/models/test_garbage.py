"""Garbage collection on both databases: what goes, what stays, and what happens when it races or is killed."""

import io
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from models.db.engine import Database
from models.db.store.garbage import remember
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Adapter, Blob, Checkpoint, DatasetVersion, Job, Metric, SignInTry, db_now
from models.domain.errors import AppError, Conflict
from models.domain.ids import new_id
from models.domain.job import JobKind, JobState, Lane
from models.infra.care import Carer, care
from models.infra.storage import SHARED, Storage
from tests.harness import wait_for
from tests.house import ROWS
from tests.light_worker import do_waiting

HOURS_AGO = 48


def grow_old(house, hours: float = HOURS_AGO, storage: bool = True) -> None:
    """As if everything there is had been put, deleted and ended so long ago."""
    then = datetime.now(UTC) - timedelta(hours=hours)
    with house.deps.database.write() as session:
        session.execute(update(Blob).values(created_at=then))
        for table in (Adapter, DatasetVersion, Job):
            session.execute(update(table).where(table.deleted_at.is_not(None)).values(deleted_at=then))
        session.execute(update(Job).where(Job.finished_at.is_not(None)).values(finished_at=then))
    for path in files(house) if storage else ():
        os.utime(path, (then.timestamp(), then.timestamp()))


def files(house):
    root = house.deps.settings.data_dir / "storage"
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != "installation")


def collect(house, storage: Storage | None = None, **options):
    return care(house.deps.database, storage or house.deps.storage, house.deps.settings, **options)


def delete(house, person, path):
    assert house.client.delete(path, headers=person.headers).status_code == 200


def content(house, person, file_id) -> bytes:
    return house.client.get(f"/v1/files/{file_id}/content", headers=person.headers).content


def checkpoint(house, job, step: int, data: bytes) -> None:
    tree = house._tree("team/team-default", {"state": data})
    listing = house.deps.storage.put_bytes("x", data)
    with house.deps.database.write() as session:
        remember(session, [Blob(scope=tree.scope, sha256=tree.tree_sha256, size=tree.size, is_tree=True)])
        session.add(
            Checkpoint(
                job_id=job, step=step, fence=1, scope=tree.scope, tree_sha256=tree.tree_sha256, size=listing.size
            )
        )


# what goes and what stays


def test_a_deleted_adapters_bytes_go_when_no_equal_one_lives_and_not_before_a_day(house):
    anna, base = house.person(), house.base()
    first, second = house.trained(anna, base)[1], house.trained(anna, base)[1]  # equal trees in one scope
    grow_old(house)
    collect(house)
    before = files(house)
    delete(house, anna, f"/api/v1/adapters/{first}")
    grow_old(house)
    assert collect(house).files == 0 and files(house) == before
    delete(house, anna, f"/api/v1/adapters/{second}")
    assert collect(house).files == 0 and files(house) == before  # deleted just now
    grow_old(house)
    freed = collect(house)
    assert freed.files == 3 and freed.size >= len(b"weights") + len(b"x")  # the listing and two files
    assert len(files(house)) == len(before) - 3
    assert house.client.get("/api/v1/bases", headers=anna.headers).json()["data"][0]["id"] == base


def test_nothing_that_lives_is_touched_however_old(house):
    anna, base = house.person(), house.base()
    adapter = house.trained(anna, base)[1]
    merge = house.merged(anna, adapter)[1]
    file = house.upload(anna, "kept.jsonl").json()["id"]
    grow_old(house)
    collect(house)
    before = files(house)
    for _ in range(2):
        grow_old(house)
        assert collect(house).files == 0
    assert files(house) == before and content(house, anna, file) == ROWS
    for path in (f"adapters/{adapter}/download", f"merges/{merge}/download"):
        assert house.client.get(f"/api/v1/{path}", headers=anna.headers).content[:2] == b"PK"


def test_a_versions_parts_prepared_rows_and_reports_live_and_go_with_it(house):
    anna = house.person()
    sent = [("file", (name, io.BytesIO(rows))) for name, rows in (("a.jsonl", ROWS), ("b.jsonl", ROWS * 2))]
    file = house.client.post("/v1/files", files=sent, data={"purpose": "fine-tune"}, headers=anna.headers).json()["id"]
    do_waiting(house)
    grow_old(house)
    assert collect(house).files == 0 and len(files(house)) == 5  # the list, two files, their rows, the gate's findings
    assert house.client.get(f"/v1/files/{file}/content?part=2", headers=anna.headers).content == ROWS * 2
    assert house.client.get(f"/api/v1/files/{file}/messages.jsonl", headers=anna.headers).content.count(b"\n") == 3
    delete(house, anna, f"/v1/files/{file}")
    grow_old(house)
    assert collect(house).files == 5 and files(house) == []


def test_an_edits_source_stays_while_the_edit_waits(house):
    anna = house.person()
    file = house.upload(anna).json()["id"]
    do_waiting(house)
    edits = {"edits": [{"row": 1, "example": None}]}
    job = house.client.post(f"/api/v1/files/{file}/edits", json=edits, headers=anna.headers).json()
    with house.deps.database.write() as session:  # deleted in the same moment as the job was submitted
        session.execute(update(DatasetVersion).where(DatasetVersion.id == file).values(deleted_at=db_now()))
    grow_old(house)
    assert collect(house).files == 0
    assert house.client.post(f"/api/v1/jobs/{job['id']}/cancel", headers=anna.headers).status_code == 200
    grow_old(house)
    assert collect(house).files == 3


def test_a_file_that_a_waiting_job_needs_stays_although_it_was_deleted(house):
    anna, base = house.person(), house.base()
    file = house.upload(anna).json()["id"]
    spec = {"base": base, "data": {"training_file": file}}
    with house.deps.database.write() as session:  # deleted in the same moment as the job was submitted
        session.execute(update(DatasetVersion).where(DatasetVersion.id == file).values(deleted_at=db_now()))
        job = TeamStore(session, anna.principal).submit(JobKind.TRAIN, spec, priority=9)
    grow_old(house)
    assert collect(house).files == 0
    with house.deps.database.write() as session:
        claimed = SystemStore(session).claim(Lane.JOBS, "worker-test", 60)
        assert claimed is not None and claimed.id == job.id
        SystemStore(session).settle(job.id, claimed.fence, JobState.FAILED)
    grow_old(house)
    with house.deps.database.write() as session:  # its check waits, too
        session.execute(
            update(Job).where(Job.kind == JobKind.CHECK_DATA).values(state="cancelled", finished_at=db_now())
        )
    assert collect(house).files == 1


@pytest.mark.parametrize(
    ("state", "hours", "kept"),
    [
        ("queued", HOURS_AGO, 3),
        ("failed", HOURS_AGO, 5),
        ("cancelled", HOURS_AGO, 5),
        ("failed", 24 * 31, 0),
        ("succeeded", HOURS_AGO, 0),
        ("succeeded", 1, 5),
    ],
)
def test_checkpoints_stay_as_long_as_a_job_may_go_on_from_them(house, state, hours, kept):
    anna = house.person()
    with house.deps.database.write() as session:
        job = TeamStore(session, anna.principal).submit(JobKind.TRAIN, {"base": "base-x", "data": {}}).id
    for step in range(5):
        checkpoint(house, job, step, b"%d" % step)
    if state != "queued":
        with house.deps.database.write() as session:
            session.execute(update(Job).where(Job.id == job).values(state=state, finished_at=db_now()))
    grow_old(house, hours)
    collect(house)
    with house.deps.database.read() as session:
        rows = SystemStore(session).checkpoints(job)
        assert [row.step for row in rows] == [4, 3, 2, 1, 0][:kept]
    for row in rows:
        assert house.deps.storage.listing(tree_of(row)).files
    team_files = [path for path in files(house) if "team" in str(path)]
    assert len(team_files) == 2 * (5 if hours == 1 else kept)


def tree_of(row):
    from models.domain.chat import TreeRef

    return TreeRef(scope=row.scope, sha256=row.tree_sha256)


def test_an_ended_jobs_checkpoints_stay_while_another_goes_on_from_them(house):
    anna = house.person()
    with house.deps.database.write() as session:
        store = TeamStore(session, anna.principal)
        old = store.submit(JobKind.TRAIN, {"data": {}}).id
        store.submit(JobKind.TRAIN, {"data": {}}, resumes=old)
        session.execute(update(Job).where(Job.id == old).values(state="failed", finished_at=db_now()))
    checkpoint(house, old, 1, b"state")
    grow_old(house, 24 * 40)
    collect(house)
    with house.deps.database.read() as session:
        assert [row.step for row in SystemStore(session).checkpoints(old)] == [1]


# races, each at its worst moment


class Interrupted(Storage):
    """Storage in which something else happens at one moment of a round."""

    def __init__(self, house, moment: str, event) -> None:
        super().__init__(house.deps.settings.storage)
        self.moment, self.event = moment, event

    def listing(self, tree):
        self._at("looked")
        return super().listing(tree)

    def files(self):
        self._at("forgotten")
        return super().files()

    def discard(self, file, before):
        self._at("chosen")
        return super().discard(file, before)

    def _put_at(self, path):
        if path.endswith(".doomed"):
            self._at("aside")
        return super()._put_at(path)

    def _at(self, moment):
        if moment == self.moment and self.event is not None:
            event, self.event = self.event, None
            event()


@pytest.mark.parametrize("moment", ["looked", "forgotten", "chosen", "aside"])
def test_equal_bytes_that_are_uploaded_during_a_round_are_never_lost(house, moment):
    anna = house.person()
    house.base()  # something in use, so that its listing is read
    gone = house.upload(anna).json()["id"]
    delete(house, anna, f"/v1/files/{gone}")
    with house.deps.database.write() as session:
        session.execute(
            update(Job).where(Job.kind == JobKind.CHECK_DATA).values(state="cancelled", finished_at=db_now())
        )
    grow_old(house)
    uploaded = []
    interrupted = Interrupted(house, moment, lambda: uploaded.append(house.upload(anna, "again.jsonl").json()["id"]))
    collect(house, interrupted)
    assert interrupted.event is None and len(uploaded) == 1  # the moment came
    assert content(house, anna, uploaded[0]) == ROWS
    collect(house)
    assert content(house, anna, uploaded[0]) == ROWS
    with house.deps.database.read() as session:
        version = session.get_one(DatasetVersion, uploaded[0])
        assert session.get(Blob, (version.scope, version.sha256)) is not None


@pytest.mark.parametrize("renewal", ["first", "second"])
def test_a_row_that_is_renewed_and_forgotten_at_once_is_there_afterwards(database: Database, renewal):
    key = ("team/x", "a" * 64)
    row = lambda: Blob(scope=key[0], sha256=key[1], size=1)  # noqa: E731
    with database.write() as session:
        remember(session, [row()])
        session.execute(update(Blob).values(created_at=datetime.now(UTC) - timedelta(days=2)))
    done = []

    def other():
        with database.write() as session:
            done.append(SystemStore(session).forget([key], 3600) if renewal == "first" else remember(session, [row()]))

    thread = threading.Thread(target=other)
    with database.write() as session:
        remember(session, [row()]) if renewal == "first" else SystemStore(session).forget([key], 3600)
        thread.start()
        time.sleep(0.3)  # the other waits for this transaction, or passes it by
    thread.join()
    assert done == [0 if renewal == "first" else None]
    with database.read() as session:
        assert SystemStore(session).known_blobs() == {key}


@pytest.mark.parametrize("moment", ["forgotten", "chosen", "aside"])
def test_a_round_that_is_killed_leaves_only_what_the_next_one_takes(house, moment):
    anna, base = house.person(), house.base()
    adapter = house.trained(anna, base)[1]
    delete(house, anna, f"/api/v1/adapters/{adapter}")
    grow_old(house)
    kept = len(files(house)) - 3

    class Killed(Exception):
        pass

    def kill():
        raise Killed

    with pytest.raises(Killed):
        collect(house, Interrupted(house, moment, kill))
    assert len(files(house)) == kept + 3
    assert collect(house).files == 3
    assert len(files(house)) == kept
    assert house.client.get("/api/v1/bases", headers=anna.headers).json()["data"][0]["id"] == base


def test_what_writers_left_half_written_goes(house):
    staged = house.deps.settings.data_dir / "storage" / "staging" / "half"
    house.deps.storage.put_bytes(SHARED, b"x")
    staged.write_bytes(b"half")
    collect(house)
    assert staged.exists()
    os.utime(staged, (0, 0))
    collect(house)
    assert not staged.exists()


# where nobody may be sure, nothing goes


def test_an_unreadable_listing_that_is_in_use_stops_the_round_before_any_byte_is_lost(house):
    anna, base = house.person(), house.base()
    first = house.trained(anna, base)[1]
    delete(house, anna, f"/api/v1/adapters/{first}")
    grow_old(house)
    before = files(house)
    with house.deps.database.read() as session:
        row = TeamStore(session, anna.principal).base(base)
    listing = house.deps.storage.local_path(row.scope, row.tree_sha256)
    listing.rename(listing.with_suffix(".away"))
    with pytest.raises(AppError):
        collect(house)
    listing.with_suffix(".away").rename(listing)
    assert files(house) == before
    assert collect(house).files == 3


def test_a_storage_of_another_installation_is_left_alone(house, tmp_path):
    anna = house.person()
    house.upload(anna)
    collect(house)
    (house.deps.settings.data_dir / "storage" / "installation").write_text("another")
    grow_old(house)
    with house.deps.database.write() as session:
        session.execute(update(Blob).values(sha256="0" * 64))  # as an empty database would see it
    with pytest.raises(Conflict, match="another installation"):
        collect(house)
    assert len(files(house)) == 1


def test_a_dry_run_says_the_same_and_changes_nothing(house):
    anna, base = house.person(), house.base()
    adapter = house.trained(anna, base)[1]
    delete(house, anna, f"/api/v1/adapters/{adapter}")
    with house.deps.database.write() as session:
        session.add(SignInTry(id=new_id("try"), account_sha256="a" * 64, address="::1", at=db_now(-100 * 24 * 3600)))
    grow_old(house)
    before = files(house)
    promised = collect(house, dry_run=True)
    assert promised == collect(house, dry_run=True) and files(house) == before
    assert promised == collect(house) and (promised.files, promised.old) == (3, {"tries to sign in": 1})


def test_one_process_cares_at_a_time(house):
    deps = house.deps
    first, second = (Carer(deps.database, deps.storage, deps.settings) for _ in range(2))
    assert first.round() is not None and second.round() is None and first.round() is not None


# records


def test_logs_and_traces_go_after_their_time_while_events_and_metrics_stay(house):
    anna = house.person()
    old, new = (house.trained(anna, house.base(name))[0] for name in ("one", "two"))
    with house.deps.database.write() as session:
        session.execute(update(Job).where(Job.id.in_([old, new])).values(log_tail="the end"))
        session.execute(update(Job).where(Job.id == old).values(finished_at=db_now(-31 * 24 * 3600)))
        session.add(Metric(job_id=old, series="train_loss", step=1, fence=1, value=1.0, at=db_now()))
        for days in (89, 91):
            session.add(
                SignInTry(id=new_id("try"), account_sha256="a" * 64, address="::1", at=db_now(-days * 24 * 3600))
            )
    freed = collect(house)
    assert freed.old == {"ends of logs": 1, "tries to sign in": 1}
    with house.deps.database.read() as session:
        assert (session.get_one(Job, old).log_tail, session.get_one(Job, new).log_tail) == (None, "the end")
        store = TeamStore(session, anna.principal)
        assert store.events(old, limit=5).items and store.metrics(old, "train_loss")


def test_a_round_that_fails_is_not_the_last(house):
    deps = house.deps
    anna, adapter_base = house.person(), house.base()
    adapter = house.trained(anna, adapter_base)[1]
    delete(house, anna, f"/api/v1/adapters/{adapter}")
    grow_old(house)
    before = len(files(house))
    note = deps.settings.data_dir / "storage" / "installation"
    note.write_text("another")
    rounds = []

    class Counted(Storage):
        def belongs_to(self, installation):
            rounds.append(installation)
            return super().belongs_to(installation)

    quick = deps.settings.model_copy(update={"care_seconds": 0.1})
    carer = Carer(deps.database, Counted(deps.settings.storage), quick).start()
    try:
        wait_for(lambda: len(rounds) > 1, 20)
        assert len(files(house)) == before
        note.unlink()
        wait_for(lambda: len(files(house)) == before - 3, 20)
    finally:
        carer.stop()
