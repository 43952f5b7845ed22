"""Datasets of the hub over real HTTP: which files a split is, pinned and bounded, and how they become a version."""

import json

import pytest

from models.db.store.system import SystemStore
from models.db.tables import DatasetVersion, Job
from models.domain.data_jobs import FetchDataSpec
from models.domain.errors import Invalid
from models.domain.job import JobKind, JobState
from models.infra.settings import Settings
from tests.hub_server import COMMIT, serving
from tests.worker.test_staging import Bench
from worker.data.fetched import run
from worker.fetching import bring_dataset
from worker.hub_dataset import files_of_split
from worker.jobdir import JobDir, Order
from worker.settling import store_result

ROWS = b'{"text": "One."}\n'
TWO = {"README.md": b"---\n---", "data/train-00000-of-00002.jsonl": ROWS, "data/train-00001-of-00002.jsonl": ROWS * 2,
       "data/test-00000-of-00001.jsonl": ROWS * 3, "load.py": b"import os"}  # fmt: skip


class Never:
    def asked(self) -> bool:
        return False


@pytest.fixture
def bench(database, tmp_path) -> Bench:
    return Bench(database, tmp_path)


def spec(**more) -> FetchDataSpec:
    return FetchDataSpec(**({"reference": "org/tiny", "name": "tiny"} | more))


def bring(hub, home, wish=None, **settings):
    jobdir = JobDir(home / "job")
    jobdir.root.mkdir(exist_ok=True)
    told = Settings(data_dir=home, **settings)
    return jobdir, bring_dataset(wish or spec(), jobdir, told, lambda: None, lambda: None, hub.url)


@pytest.mark.parametrize(
    ("paths", "split", "found"),
    [
        (["train.csv", "test.csv"], "train", ["train.csv"]),
        (["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/test-0.parquet"], "train",
         ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]),
        (["train/a.jsonl", "train/b.jsonl", "validation/a.jsonl"], "train", ["train/a.jsonl", "train/b.jsonl"]),
        (["alpaca_data.json", "README.md", "dataset_infos.json"], "train", ["alpaca_data.json"]),
        (["main/train-0.parquet", "socratic/train-0.parquet"], "main/train", ["main/train-0.parquet"]),
        (["en.train.jsonl.gz", "en.test.jsonl.gz"], "train", ["en.train.jsonl.gz"]),
        (["train.parquet", "train.csv"], "train", ["train.csv"]),
        (["data/train-00000-of-00001-a09b74b3ef9c3b56.parquet"], "train",
         ["data/train-00000-of-00001-a09b74b3ef9c3b56.parquet"]),
        (["train.csv", ".cache/train.csv", "untrained.csv", "training.csv"], "train", ["train.csv"]),
    ],
)  # fmt: skip
def test_a_splits_files_are_known_by_their_names(paths, split, found):
    assert files_of_split("org/tiny", paths, split) == found


@pytest.mark.parametrize(
    ("paths", "split", "sentence"),
    [
        (["README.md", "load.py"], "train", "holds no file of rows"),
        (["train.csv", "test.csv"], "validation", r'no split "validation". Its files of rows are test.csv, train.csv'),
        (["main/train.csv", "socratic/train.csv"], "train", r'"main/train", "socratic/train"'),
        (["rows.csv"], "test", 'no split "test"'),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_there_is(paths, split, sentence):
    with pytest.raises(Invalid, match=sentence):
        files_of_split("org/tiny", paths, split)


def test_a_split_arrives_in_order_pinned_to_its_commit_without_anything_else(tmp_path):
    with serving(TWO) as hub:
        jobdir, facts = bring(hub, tmp_path)
    assert facts == {
        "files": ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"],
        "revision": COMMIT, "licence": "apache-2.0",
    }  # fmt: skip
    source = jobdir.inputs / "source"
    assert {path.name: path.read_bytes() for path in source.iterdir()} == {"0": ROWS, "1": ROWS * 2}


def test_a_download_that_broke_goes_on_where_it_broke(tmp_path):
    with serving({"train.jsonl": ROWS * 200_000}) as hub:
        hub.broken_after = 2 << 20
        jobdir, _ = bring(hub, tmp_path)
        assert any(hub.ranges)
    assert (jobdir.inputs / "source" / "0").stat().st_size == len(ROWS) * 200_000


@pytest.mark.parametrize(
    ("wish", "settings", "sentence"),
    [
        ({}, {"max_upload_bytes": 20}, "has 51 bytes; at most 20 are taken"),
        ({}, {"hub_offline": True}, "switched off"),
        ({"reference": "org/other"}, {}, "no dataset org/other"),
        ({"split": "validation"}, {}, "no split"),
    ],
)
def test_what_is_refused_is_refused_in_words_before_a_file_is_asked_for(tmp_path, wish, settings, sentence):
    with serving(TWO) as hub:
        with pytest.raises(Invalid, match=sentence):
            bring(hub, tmp_path, spec(**wish), **settings)
        assert hub.ranges == []


def test_the_files_become_one_version_that_says_where_it_is_from(bench, tmp_path):
    wish = spec(split="train", revision="main")
    job, jobdir = bench.claim(JobKind.FETCH_DATA, wish.model_dump(mode="json"))
    with serving(TWO) as hub:
        facts = bring_dataset(wish, jobdir, bench.settings, lambda: None, lambda: None, hub.url)
    jobdir.lay_out(Order(job=job.id, fence=1, kind=JobKind.FETCH_DATA, payload=job.spec, facts=facts))
    outcome = run(jobdir, Never())
    bench.settle(job, store_result(bench.storage, job, jobdir, outcome))
    with bench.database.read() as session:
        version = session.query(DatasetVersion).one()
        parts = SystemStore(session).parts(version.id)
        check = session.query(Job).filter(Job.kind == JobKind.CHECK_DATA).one()
    assert (version.number, version.size, version.status) == (1, 3 * len(ROWS), "uploaded")
    assert version.source["revision"] == COMMIT and version.source["reference"] == "org/tiny"
    assert [(part.filename, part.size) for part in parts] == [
        ("train-00000-of-00002.jsonl", len(ROWS)), ("train-00001-of-00002.jsonl", 2 * len(ROWS)),
    ]  # fmt: skip
    assert (check.spec, check.state, check.created_by) == ({"file": version.id}, JobState.QUEUED, job.created_by)
    with bench.storage.open(version.scope, version.sha256) as file:
        assert [part["size"] for part in json.load(file)] == [len(ROWS), 2 * len(ROWS)]
