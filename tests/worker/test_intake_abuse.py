"""Abuses S9 and S10 in every container: a clear refusal or a problem of one row, in 2 s and 200 MB, never a traceback.

Zip slip and nested zips have nothing to slip into: no archive of files is opened, a zip is refused by its first bytes.
"""

import csv
import gzip
import io
import json
import subprocess
import sys
import time
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.catalog.formats.base import Problem
from models.catalog.prepared import Prepared
from models.domain.job import JobKind
from models.domain.reading import Reading
from models.domain.reports import IntakeReport
from tests.sources import write_source
from tests.text_bases import row
from worker.data import check
from worker.data.intake import prepare
from worker.jobdir import JobDir, Order
from worker.stop import Stop

MOST_SECONDS = 2.0
MOST_MB = 200
GOOD = json.dumps(row("Who?", "Odalys.")).encode()

# Reads each file as a check job does, in a process of its own, and says what came of it, its time and peak of memory.
READER = """
import json, os, sys, tempfile, time
from pathlib import Path
from models.domain.errors import AppError
from models.domain.reading import Reading
from worker.data.intake import prepare
from worker.data.memory import bounded_memory
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # as where nothing has loaded pyarrow yet
import models.catalog.cells, pyarrow, pyarrow.parquet
pyarrow.array(["what this loads"])

def read(name, path):
    began = time.process_time()
    try:
        with tempfile.TemporaryDirectory() as folder, bounded_memory(1 << 30):
            report = prepare([(name, Path(path))], Reading(), Path(folder) / "rows.parquet")
        said = {"usable": report.usable_rows, "kinds": {each.kind: each.count for each in report.problems}}
    except AppError as refusal:
        said = {"refused": refusal.message, "code": refusal.code}
    seconds = time.process_time() - began
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    print(json.dumps({"name": name, "seconds": seconds, "mb": peak // 1000, **said}), flush=True)

for name, path in json.load(sys.stdin):
    if not (child := os.fork()):
        read(name, path)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("died of " + name)
"""


def bomb(chunk: bytes, times: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(chunk) for _ in range(times)) + packer.flush()


def table(**columns: list[str]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue().encode("utf-8", "surrogatepass")


def alpaca(bad_answer: bytes) -> bytes:
    return b"instruction,output\nWho?,Odalys.\nWho?," + bad_answer + b"\nWho?,Odalys.\n"


def parquet(columns, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), out, **options)
    return out.getvalue()


def nested(depth: int):
    kind = pa.string()
    for _ in range(depth):
        kind = pa.list_(kind)
    return pa.table({"a": pa.array([None], kind), "text": ["x"]})


def one_list(length: int) -> pa.ListArray:
    """One row, a list of that many nothings."""
    return pa.ListArray.from_arrays(pa.array([0, length], pa.int32()), pa.nulls(length, pa.int8()))


def repeated(text: str, times: int):
    """One text that is said to stand in every row."""
    return pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), [text])})


def with_bad(bad: bytes, *, is_array: bool = False) -> bytes:
    return b"[" + b",".join([GOOD, bad, GOOD]) + b"]" if is_array else b"\n".join([GOOD, bad, GOOD])


DEEP = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DIGITS = b'{"messages": ' + b"9" * 10_000_000 + b"}"
MILLION_DIGITS = b'{"messages": ' + b"9" * 1_000_000 + b"}"
MESSAGES = json.dumps(json.loads(GOOD)["messages"])
BAD = {
    "deep": (DEEP, Problem.TOO_DEEP),
    "digits": (MILLION_DIGITS, Problem.HUGE_NUMBER),
    "nan": (b'{"messages": NaN}', Problem.NOT_A_NUMBER),
    "utf8": (b'{"messages": "\xff\xfe"}', Problem.INVALID_UTF8),
    "bom": (b"\xef\xbb\xbf" + GOOD, Problem.NOT_JSON),
    "nul": (b'{"messages": "\0"}', Problem.NUL),
    "keys": (b"{" + b",".join(b'"%d": 1' % n for n in range(100_000)) + b"}", Problem.MISSING_FIELD),
}
ROWS = {  # one problem in each, and two good rows beside it
    **{f"{name}.jsonl": (with_bad(bad), kind) for name, (bad, kind) in BAD.items()},
    **{f"{name}.json": (with_bad(bad, is_array=True), kind) for name, (bad, kind) in BAD.items()},
    "10m-digits.jsonl": (with_bad(DIGITS), Problem.CELL_TOO_LARGE),
    "deep.csv": (table(messages=[MESSAGES, "[" * 60_000, MESSAGES]), Problem.WRONG_TYPE),
    "utf8.csv": (alpaca(b"\xff\xfe"), Problem.INVALID_UTF8),
    "nul.csv": (alpaca(b"\0"), Problem.NUL),
    "quote.tsv": (b"instruction\toutput\na\tb\nc\td\n\"" + b"x\n" * 1_000_000, Problem.RAGGED_ROW),
    "nan.parquet": (parquet({"text": ["a", "b", "c"], "score": [1.0, float("nan"), 2.0]}), Problem.NOT_A_NUMBER),
    "nul.parquet": (parquet({"text": ["a", "b\0", "c"]}), Problem.NUL),
    "utf8.parquet": (parquet({"text": [b"a", b"\xff\xfe", b"c"]}), Problem.INVALID_UTF8),
    "cell.parquet": (parquet({"text": ["a", "b" * 70_000, "c"]}), Problem.CELL_TOO_LARGE),
}  # fmt: skip
REFUSED = {  # what the sentence must say
    "bomb.jsonl.gz": (bomb(b"\0" * 1_000_000, 100), "unpacks to"),
    "bomb.csv": (b"", "no rows"),
    "members.jsonl.gz": (gzip.compress(b"") * 200_000, "more than 100,000 members"),
    "twice.json.gz": (gzip.compress(gzip.compress(GOOD)), "gzip archive in a gzip archive"),
    "zip.jsonl": (b"PK\x03\x04" + b"\0" * 100, "a zip archive"),
    "zip.csv.gz": (gzip.compress(b"PK\x03\x04" + b"\0" * 100), "a zip archive"),
    "repeated.parquet": (parquet(repeated("x" * 60_000, 2_000)), "bomb"),
    "rows.parquet": (parquet({"text": pa.nulls(3_000_000, pa.string())}), "3,000,000 rows"),
    "values.parquet": (parquet({f"c{n}": pa.nulls(1_500_000) for n in range(150)}), "values"),
    "nested.parquet": (parquet({"messages": one_list(20_000_000)}), "stand for"),
    "footer.parquet": (b"PAR1" + b"\0" * 100 + b"\xff\xff\xff\x7fPAR1", "damaged"),
    "marks.parquet": (b"PAR1PAR1", "damaged"),
    "columns.parquet": (parquet({f"c{n}": [1] for n in range(2000)}), "columns"),
    "twice.parquet": (parquet(pa.Table.from_arrays([pa.array(["a"])] * 2, ["x", "x"])), "two of its columns"),
    "deep.parquet": (parquet(nested(100)), "too deeply nested"),
    "header.csv": (b"x" * 9_000_000, "first line"),
    "binary.csv": (bytes(range(256)) * 4000, "first line"),
}  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """By file, what one process said of all of them. They are written one after the other, the worst ones too."""
    folder = tmp_path_factory.mktemp("abuse")
    files = []
    for name, (content, _) in (ROWS | REFUSED).items():
        (folder / name).write_bytes(content)
        files.append((name, str(folder / name)))
    done = subprocess.run(
        [sys.executable, "-c", READER], input=json.dumps(files).encode(), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:].decode()
    return {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", ROWS)
def test_s9_a_hostile_row_is_named_and_the_good_ones_stay_usable(said, name):
    found, kind = said[name], ROWS[name][1]
    assert found["kinds"] == {kind: 1} and found["usable"] == 2
    assert found["seconds"] <= MOST_SECONDS and found["mb"] <= MOST_MB


@pytest.mark.parametrize("name", REFUSED)
def test_s9_a_hostile_file_is_refused_with_a_sentence(said, name):
    found = said[name]
    assert REFUSED[name][1] in found["refused"] and found["code"] == "invalid_file"
    assert "/tmp" not in found["refused"] and len(found["refused"]) < 600
    assert found["seconds"] <= MOST_SECONDS and found["mb"] <= MOST_MB


MALFORMED = [
    b"{", b"hello", b'{"messages": [}', b"{'a': 1}", b'{"a": 1} {"b": 2}', b'{"a": NaN}', b'{"a": 1e999}',
    b'{"a": ' + b"9" * 500 + b"}", b"[" * 500, b'{"a": "\xff"}', b'{"a": "\\ud800"}', b'{"a": "\x00"}', b'"text"',
    b"null", b"{}", b'{"messages": 3}', b'{"messages": []}', b'{"messages": [{"role": "bot", "content": "x"}]}',
    b'{"messages": [{"role": "assistant", "content": "x"}]}', b'{"messages": [{"role": "user", "content": "x"}]}',
]  # fmt: skip


def test_s10_ten_thousand_malformed_rows_are_counted_and_the_good_ones_train(tmp_path):
    lines = [MALFORMED[place % 20] if place % 3 else GOOD for place in range(15_000)]
    jobdir = JobDir(tmp_path / "job")
    jobdir.lay_out(Order(job="job_1", fence=1, kind=JobKind.CHECK_DATA, payload={}))
    write_source(jobdir.inputs / "data", b"\n".join(lines))
    began = time.process_time()
    outcome = check.run(jobdir, Stop())
    assert time.process_time() - began <= 10
    assert outcome.status == "succeeded"
    report = IntakeReport.model_validate(outcome.result)
    assert (report.rows, report.usable_rows) == (15_000, 5000)
    assert sum(each.count for each in report.problems) == 10_000 and len(report.problems) >= 11
    for problem in report.problems:
        assert len(problem.first) == 10 and all(each.found and each.needed for each in problem.first)
        assert all(lines[each.row - 1] != GOOD for each in problem.first)
    prepared = Prepared(jobdir.out / "rows.parquet")
    assert [number for number, _ in prepared.examples()] == list(range(1, 15_001, 3))
    shown = prepared.row(2)
    assert shown is not None and shown.raw == "hello"


def test_s10_the_problems_of_a_table_are_counted_as_well(tmp_path):
    bad = [b"a", b"a,b,c", b'"x"y,z', b"\xff,b", b"\0,b", b" ,b", b"a, "]
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"instruction,output\n" + b"\n".join(bad[n % 7] if n % 2 else b"Who?,Odalys." for n in range(7000))
    )
    report = prepare([(path.name, path)], Reading(), tmp_path / "rows.parquet")
    assert (report.format, report.container, report.rows, report.usable_rows) == ("alpaca", "csv", 7000, 3500)
    assert {each.kind: each.count for each in report.problems} == {
        "ragged_row": 1500, "empty_field": 1000, "invalid_utf8": 500, "nul": 500
    }  # fmt: skip
