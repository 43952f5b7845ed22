"""The check job: a job directory in, a report or a refusal out."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.catalog.prepared import Prepared
from models.domain.errors import Code, JobFailed
from models.domain.job import JobKind
from models.domain.progress import Progressed
from tests.sources import write_source
from tests.text_bases import row
from worker.data import check
from worker.jobdir import JobDir, Order
from worker.stop import Stop


@pytest.fixture
def jobdir(tmp_path):
    directory = JobDir(tmp_path / "1")
    directory.lay_out(Order(job="job_1", fence=1, kind=JobKind.CHECK_DATA, payload={}))
    return directory


def put(jobdir, *lines: str):
    write_source(jobdir.inputs / "data", "\n".join(lines).encode())


def test_a_good_file_succeeds_with_its_report(jobdir):
    put(jobdir, *[json.dumps(row("Who?", "Odalys."))] * 3, "oops")
    outcome = check.run(jobdir, Stop())
    assert outcome.status == "succeeded"
    assert outcome.result["format"] == "messages" and outcome.result["confidence"] == 1.0
    assert (outcome.result["rows"], outcome.result["usable_rows"]) == (4, 3)
    assert outcome.result["problems"][0]["kind"] == "not_json"
    assert outcome.result["problems"][0]["first"][0]["row"] == 4
    assert [number for number, _ in Prepared(jobdir.out / "rows.parquet").examples()] == [1, 2, 3]
    jobdir.finish(outcome)  # it survives the way through JSON


@pytest.mark.parametrize("filename", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_progress_is_told_in_bytes_to_the_end(jobdir, monkeypatch, filename):
    monkeypatch.setattr(check, "SECONDS_BETWEEN_REPORTS", 0.0)
    rows = [row(f"Who is {number}?", "Odalys.") for number in range(300)]
    content = "".join(json.dumps(each) + "\n" for each in rows).encode()
    if filename.endswith(".gz"):
        content = gzip.compress(content)
    if filename.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), out := io.BytesIO())
        content = out.getvalue()
    write_source(jobdir.inputs / "data", content, filename)
    assert check.run(jobdir, Stop()).status == "succeeded"
    told = [said for said in jobdir.said_since(0)[0] if isinstance(said, Progressed)]
    assert [said.done for said in told] == sorted(said.done for said in told) and len(told) > 10
    assert told[-1].done == told[-1].total == len(content) and told[-1].unit == "bytes"


def test_a_foreign_file_fails_with_its_reason(jobdir):
    write_source(jobdir.inputs / "data", b"PK\x03\x04")
    outcome = check.run(jobdir, Stop())
    assert outcome.status == "failed" and outcome.error["code"] == "invalid_file"
    assert "zip archive" in outcome.error["message"] and not list(jobdir.out.iterdir())


def test_a_file_without_one_usable_row_fails_and_keeps_the_report(jobdir):
    put(jobdir, *['{"messages": []}'] * 4)
    outcome = check.run(jobdir, Stop())
    assert outcome.status == "failed" and outcome.error["code"] == "invalid_file"
    assert 'none of the 4 rows can be used as messages. Row 1: "messages" is empty' in outcome.error["message"]
    assert outcome.error["facts"]["problems"][0]["count"] == 4
    assert len(list(Prepared(jobdir.out / "rows.parquet").problems())) == 4


def test_a_file_that_changed_on_the_way_is_our_fault_and_no_verdict(jobdir):
    put(jobdir, json.dumps(row("Who?", "Odalys.")))
    (jobdir.inputs / "data" / "files" / "0").write_bytes(b"{}")
    with pytest.raises(JobFailed, match="changed on the way") as raised:
        check.run(jobdir, Stop())
    assert raised.value.code is Code.INTERNAL


def test_a_stop_ends_the_reading(jobdir, monkeypatch):
    monkeypatch.setattr(check, "SECONDS_BETWEEN_REPORTS", 0.0)
    put(jobdir, *[json.dumps(row("Who?", "Odalys."))] * 300)

    class StopAtTheThirdLook(Stop):
        looks = 0

        def asked(self) -> bool:
            self.looks += 1
            return self.looks >= 3

    stop = StopAtTheThirdLook()
    assert check.run(jobdir, stop).status == "stopped"
    assert stop.looks == 3
