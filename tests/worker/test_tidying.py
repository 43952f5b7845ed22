"""A worker's own disk, tidied: folders of ended jobs, what killed attempts left, and copies nobody uses."""

import os
import time

import pytest
from sqlalchemy import update

from models.db.tables import Job, db_now
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from tests.people import make_job
from worker.cache import Cache
from worker.tidying import Tidied, Tidying, tidy

DAY = 24 * 3600


@pytest.fixture
def settings(tmp_path, database_url):
    made = Settings(data_dir=tmp_path / "house", database_url=database_url)
    made.jobs_dir.mkdir(parents=True)
    return made


@pytest.fixture
def cache(settings):
    return Cache(settings, Storage(settings.storage))


def folder_of(settings, job_id: str, days_old: float = 0):
    root = settings.jobs_dir / job_id
    for name in ("in", "out", "tmp", "checkpoints/step-00000001"):
        (root / "1" / name).mkdir(parents=True)
    (root / "1" / "log.txt").write_text("the end")
    then = time.time() - days_old * DAY
    os.utime(root, (then, then))
    return root


def ended(database, days: float) -> str:
    job = make_job(database)
    with database.write() as session:
        values = {"state": "failed", "finished_at": db_now(-days * DAY)}
        session.execute(update(Job).where(Job.id == job.id).values(**values))
    return job.id


def test_folders_go_with_the_age_of_their_job_and_first_lose_what_attempts_left(database, settings, cache):
    waiting, fresh, recent, old = make_job(database).id, ended(database, 0), ended(database, 2), ended(database, 31)
    roots = {job: folder_of(settings, job) for job in (waiting, fresh, recent, old)}
    assert tidy(database, cache, settings) == Tidied(jobs=1, leftovers=1, copies=0)
    assert not roots[old].exists()
    assert [path.name for path in (roots[recent] / "1").iterdir()] == ["log.txt"]
    for job in (waiting, fresh):
        assert len(list((roots[job] / "1").iterdir())) == 5


def test_a_folder_of_a_job_that_nobody_knows_goes_by_its_age_alone(database, settings, cache):
    young, old = folder_of(settings, "job-unknown1"), folder_of(settings, "job-unknown2", days_old=31)
    tidy(database, cache, settings)
    assert (young.exists(), old.exists()) == (True, False)


def test_copies_that_nobody_used_for_long_go_and_those_in_use_stay(database, settings, cache):
    storage = Storage(settings.storage)
    refs = [storage.put_bytes(SHARED, data) for data in (b"idle", b"used", b"held")]
    paths = [cache.file(SHARED, ref.sha256) for ref in refs]
    for ref in refs[:2]:
        cache.let_go(ref.sha256)
    for path in (paths[0], paths[2]):
        os.utime(path, (0, 0))
    half = settings.cache_dir / "arriving" / "half"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    assert tidy(database, cache, settings).copies == 1
    assert [path.exists() for path in paths] == [False, True, True]
    assert not half.exists()


def test_one_process_of_a_machine_tidies_at_a_time(database, settings, cache):
    first, second = (Tidying(database, cache, settings) for _ in range(2))
    assert first.round() is not None and second.round() is None
