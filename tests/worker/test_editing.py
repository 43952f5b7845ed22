"""Edits of a version: what stays byte for byte, what is rewritten, and what a person is told."""

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.formats import FORMATS
from models.catalog.home import line_of
from models.domain.data_jobs import EditDataSpec
from models.domain.errors import JobFailed
from models.domain.example import Conversation, Text, Turn
from models.domain.job import JobKind
from tests.examples import conversations, questions_and_answers
from tests.sources import write_source
from worker.data.editing import edited, run
from worker.data.source import Source
from worker.data.version_rows import VersionRows
from worker.jobdir import JobDir, Order

ALPACA = [
    b'{"instruction": "One?",  "input": "", "output": "1", "id": 7}\n',
    b"{broken\n",
    b'{"instruction": "Three?", "input": "", "output": "3"}\r\n',
    b'{"output": "no question"}',
]
TOLD = {"added_by": "anna@example.org", "added_at": "2026-11-23T09:00:00+00:00"}


class Never:
    def asked(self) -> bool:
        return False


def talk(*texts: str) -> dict:
    roles = ("user", "assistant") * len(texts)
    turns = tuple(Turn(role=role, content=text) for role, text in zip(roles, texts, strict=False))
    return Conversation(turns=turns).model_dump(mode="json")


def edit(folder: Path, content: bytes, *, edits=(), appended=(), filename="rows.jsonl", format=None, **reading):
    write_source(folder, content, filename, **reading)
    spec = EditDataSpec(
        file="file-1", edits=[{"row": row, "example": example} for row, example in edits], appended=appended
    )  # fmt: skip
    made = edited(Source(folder), spec, format, TOLD, folder / "data.jsonl")
    return made, (folder / "data.jsonl").read_bytes().splitlines(keepends=True)


def understood(folder: Path, made, files=None) -> list:
    files = files or [("data.jsonl", folder / "data.jsonl")]
    return [read.understood for read in VersionRows(files, made.reading)]


def test_only_the_edited_line_changes_and_keeps_what_else_stood_in_it(tmp_path):
    made, lines = edit(tmp_path, b"".join(ALPACA), edits=[(1, talk("First?", "one"))])
    assert lines[1:3] == ALPACA[1:3] and lines[3] == ALPACA[3] + b"\n"
    assert json.loads(lines[0]) == {"instruction": "First?", "input": "", "output": "one", "id": 7}
    assert (made.rows, made.format) == (4, "alpaca")


def test_rows_that_cannot_be_used_are_mended_one_after_another(tmp_path):
    _, lines = edit(tmp_path / "a", b"".join(ALPACA), edits=[(2, talk("Two?", "2"))])
    assert lines[3] == ALPACA[3] + b"\n"
    made, mended = edit(tmp_path / "b", b"".join(lines), edits=[(4, talk("Four?", "4"))])
    assert [json.loads(line)["output"] for line in mended] == ["1", "2", "3", "4"] and made.rows == 4


def test_a_removed_row_is_gone_and_an_added_one_says_by_whom_and_when(tmp_path):
    made, lines = edit(tmp_path, ALPACA[0] + ALPACA[2], edits=[(1, None)], appended=[talk("New?", "yes")])
    assert lines[0] == ALPACA[2] and made.rows == 2
    assert json.loads(lines[1]) == {"instruction": "New?", "input": "", "output": "yes"} | TOLD


def test_what_the_format_cannot_hold_moves_the_whole_version_to_messages(tmp_path):
    tooled = Conversation(turns=(Turn(role="user", content="Q"), Turn(role="assistant", content="A", weight=0),
                                 Turn(role="user", content="R"), Turn(role="assistant", content="B")))  # fmt: skip
    made, lines = edit(tmp_path, b"".join(ALPACA), edits=[(3, tooled.model_dump(mode="json"))])
    assert (made.format, made.rows, made.reading.format) == ("messages", 4, None)
    rows = [json.loads(line) for line in lines]
    assert rows[0] == {
        "messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "1"}],
        "id": 7,
    }
    assert rows[1] == "{broken"  # stays a row that cannot be used
    assert rows[2]["messages"][1]["weight"] == 0 and rows[3] == {"output": "no question"}


def test_columns_that_were_mapped_keep_their_names_and_their_lines(tmp_path):
    lines = [b'{"frage": "Eins?", "antwort": "1", "n": 5}\n', b'{"frage": "Zwei?", "antwort": "2"}\n']
    mapping = {"instruction": "frage", "output": "antwort"}
    made, written = edit(
        tmp_path, b"".join(lines), edits=[(1, talk("Erstens?", "eins"))], format="alpaca", mapping=mapping
    )  # fmt: skip
    assert written[1] == lines[1] and made.reading.mapping == mapping
    assert {"frage": "Erstens?", "antwort": "eins", "n": 5}.items() <= json.loads(written[0]).items()
    assert [row["output"] for row in understood(tmp_path, made)] == ["eins", "2"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_becomes_lines_under_the_names_of_the_fields(tmp_path, packed):
    table = b'frage,antwort\nEins?,"1, or\none"\nZwei?,2\n'
    made, lines = edit(
        tmp_path, gzip.compress(table) if packed else table, filename="t.csv.gz" if packed else "t.csv",
        edits=[(2, talk("Zwei?", "zwei"))], format="alpaca",
        mapping={"instruction": "frage", "output": "antwort"},
    )  # fmt: skip
    assert made.reading.mapping == {}
    assert json.loads(lines[0]) == {"instruction": "Eins?", "output": "1, or\none"}
    assert json.loads(lines[1])["output"] == "zwei"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(questions_and_answers(), min_size=1, max_size=5), st.integers(0, 4), conversations(),
    st.sampled_from(["alpaca", "messages", "prompt_completion", "sharegpt"]),
)  # fmt: skip
def test_whatever_is_edited_the_rows_mean_what_they_meant_and_the_edited_one_what_was_wished(old, place, new, name):
    place = min(place, len(old) - 1)
    content = b"".join(line_of(FORMATS[name].render(example)) for example in old)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        made, lines = edit(home, content, edits=[(place + 1, new.model_dump(mode="json"))], format=name)
        read = [FORMATS[made.format].parse(row) for row in understood(home, made)]
    assert read == [*old[:place], new, *old[place + 1 :]]
    if made.format == name:
        assert lines[:place] == content.splitlines(keepends=True)[:place]


def test_a_row_that_is_not_there_and_an_empty_result_are_refused(tmp_path):
    with pytest.raises(JobFailed, match=r"there is no row 9"):
        edit(tmp_path / "a", ALPACA[0], edits=[(9, None)])
    with pytest.raises(JobFailed, match="no row would be left"):
        edit(tmp_path / "b", ALPACA[0], edits=[(1, None)])


def test_a_document_does_not_become_a_conversation(tmp_path):
    document = Text(text="Only words.").model_dump(mode="json")
    with pytest.raises(JobFailed, match="one dataset holds one kind"):
        edit(tmp_path, b"".join(ALPACA), appended=[document])


def test_the_job_says_what_it_wrote_and_fails_in_words(tmp_path):
    jobdir = JobDir(tmp_path)
    write_source(jobdir.inputs / "data", ALPACA[0])
    spec = EditDataSpec(file="file-1", appended=[talk("New?", "yes")]).model_dump(mode="json")
    jobdir.lay_out(Order(job="j", fence=1, kind=JobKind.EDIT_DATA, payload=spec, facts={"format": None} | TOLD))
    outcome = run(jobdir, Never())
    assert (outcome.status, outcome.result["rows"], outcome.result["format"]) == ("succeeded", 2, "alpaca")
    (jobdir.inputs / "data" / "files" / "0").write_bytes(b"PK\x03\x04zip")
    assert run(jobdir, Never()).status == "failed"
