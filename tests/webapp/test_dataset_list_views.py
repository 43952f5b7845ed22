"""The list of datasets: what is being done to each, and downloads from the hub on their way."""

from typing import Any

from models.catalog.containers import ENDINGS
from models.db.tables import Job
from models.domain.job import JobKind, JobState
from tests.webapp.dataset_pages import page_of, version_of
from webapp.actions.show_datasets import DatasetSeen
from webapp.views.dataset_list import dataset_list, zone

WISH = {"reference": "larkspur/tides", "split": "train", "name": "tides"}


def job_of(kind: JobKind, state: JobState = JobState.RUNNING, **facts: Any) -> Job:
    usual = {"spec": {"file": "file-1"}, "done": None, "total": None, "error": None}
    return Job(id="job-1", kind=kind, state=state, **usual | facts)


def listed(*jobs: Job) -> str:
    version = version_of(1)
    seen = DatasetSeen(dataset=page_of(version).dataset, newest=version, versions=1, runs=0, maker=None, may_add=True)
    return dataset_list(
        [seen], total=1, words="", page=1, pages=1, may_upload=True, may_train=True, jobs=jobs
    )  # fmt: skip


def test_the_list_says_what_is_being_done_to_a_dataset():
    assert "looking for duplicates: waiting" in listed(job_of(JobKind.GATE_DATA, JobState.QUEUED))
    assert "looking for duplicates ..." in listed(job_of(JobKind.GATE_DATA))
    assert "counting tokens, 25 % ..." in listed(job_of(JobKind.COUNT_TOKENS, done=25, total=100))
    assert "counting" not in listed(job_of(JobKind.COUNT_TOKENS, spec={"file": "file-2"}))


def test_a_download_shows_how_far_it_is_and_can_be_cancelled():
    html = listed(job_of(JobKind.FETCH_DATA, spec=WISH, done=40_000_000, total=100_000_000))
    assert "larkspur/tides · train · 40 MB of 100 MB" in html and 'aria-valuenow="40"' in html
    assert 'data-call="POST /api/v1/jobs/job-1/cancel"' in html
    assert "waiting for a free worker" in listed(job_of(JobKind.FETCH_DATA, JobState.QUEUED, spec=WISH))


def test_a_download_that_failed_says_why():
    html = listed(job_of(JobKind.FETCH_DATA, JobState.FAILED, spec=WISH, error={"message": "It has no split train."}))
    assert "It has no split train." in html and "cancel" not in html


def test_the_zone_takes_every_ending_and_fetches_where_that_is_allowed():
    told = {"limit_bytes": 1000, "may_upload": True, "then": "#ask", "title": "Drop files"}
    html = zone(**told, may_fetch=True)
    assert {".csv", ".parquet", ".jsonl.gz"} <= set(ENDINGS) and f'accept="{",".join(ENDINGS)}"' in html
    assert "POST /api/v1/datasets/fetch" in html
    assert "fetch" not in zone(**told)
