"""A peek into uploaded files: columns and first rows, under any format and mapping, whatever somebody uploaded."""

import gzip
import json
import subprocess
import sys
import time

import pytest

from models.domain.errors import Invalid
from models.domain.preview import ColumnsSeen
from models.domain.reading import Reading
from tests.text_bases import row
from worker.data.peek import peek

CSV = b"question,answer,id\nWho?,Odalys.,1\n,empty,2\nragged\n"


def seen(tmp_path, content: bytes, name="x.csv", shown=3, **reading) -> ColumnsSeen:
    path = tmp_path / "stored"
    path.write_bytes(content)
    return peek([(name, path)], Reading(**reading), shown)


def test_columns_and_first_rows_are_shown_before_any_format_fits(tmp_path):
    found = seen(tmp_path, CSV)
    assert (found.container, found.columns, found.format) == ("csv", ("question", "answer", "id"), None)
    assert found.rows[0].cells == {"question": "Who?", "answer": "Odalys.", "id": "1"}
    assert [row.problem is None for row in found.rows] == [True, True, False]
    assert found.rows[2].cells == {"": "ragged"} and found.rows[2].row == 3


def test_a_mapping_shows_what_the_rows_become(tmp_path):
    mapping = {"instruction": "question", "output": "answer"}
    found = seen(tmp_path, CSV, format="alpaca", mapping=mapping, shown=2)
    first, second = found.rows
    assert first.example is not None and first.example["kind"] == "conversation"
    assert [turn["content"] for turn in first.example["turns"]] == ["Who?", "Odalys."]
    assert second.example is None and second.problem == '"question" is empty; needed: a text that is not empty.'
    assert seen(tmp_path, CSV, mapping=mapping).format == "alpaca"  # detected in the mapped names


def test_long_cells_and_many_columns_are_shown_in_part(tmp_path):
    wide = {f"c{place}": "x" * 5000 for place in range(300)}
    found = seen(tmp_path, gzip.compress(json.dumps(wide | row("Who?", "Me.")).encode()), "x.jsonl.gz")
    assert found.format == "messages" and len(found.columns) <= 200
    assert len(found.rows[0].cells) == 50 and max(map(len, found.rows[0].cells.values())) == 200


def test_rows_of_megabytes_are_few_enough_to_be_seen_in_time(tmp_path):
    giant = json.dumps({"text": "x", "more": ["x" * 60_000] * 100}).encode()  # 6 MB
    began = time.process_time()
    found = seen(tmp_path, b"\n".join([giant] * 20), "x.jsonl")
    assert found.format == "text" and len(found.rows) == 3
    assert time.process_time() - began < 2


def test_a_format_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Invalid, match="there is no format"):
        seen(tmp_path, CSV, format="nothing")


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the process says of a good file and of a refused one."""
    folder = tmp_path_factory.mktemp("peek")
    good, zipped = folder / "good", folder / "zip"
    good.write_bytes(json.dumps(row("Who?", "Zoë.")).encode())
    zipped.write_bytes(b"PK\x03\x04")

    def ask(path):
        wanted = {"files": [["x.jsonl", str(path)]], "format": None, "mapping": {}, "rows": 2}
        return subprocess.run(
            [sys.executable, "-P", "-m", "worker.data.peek"],
            input=json.dumps(wanted).encode(), capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    return {"good": ask(good), "zip": ask(zipped)}


def test_the_process_answers_on_stdout(said):
    found = ColumnsSeen.model_validate_json(said["good"].stdout)
    assert said["good"].returncode == 0 and found.rows[0].cells["messages"].startswith('[{"role": "user"')
    refused = json.loads(said["zip"].stdout)["error"]
    assert refused["code"] == "invalid_file" and "zip archive" in refused["message"] and not said["zip"].stderr
