"""Stage 2 as a job: what repeats, what is nearly equal, what seems personal, row by row and in the report."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models.catalog.findings import words_of
from models.catalog.prepared import Prepared, PreparedWriter
from models.domain.example import EXAMPLE
from models.domain.job import JobKind
from models.domain.progress import Progressed
from models.domain.reports import GateReport
from tests.sources import write_source
from worker.data.gate.overlap import KINDS, overlap
from worker.data.gate.personal import Personal
from worker.data.gate.run import check, run
from worker.jobdir import JobDir, Order, Outcome
from worker.stop import Stop

LONG = "The heron stood among the reeds by the old mill until the light was gone and nobody could see it any more."


def asked(question: str, answer: str = "Yes.", system: str | None = None) -> dict[str, Any]:
    said = [("system", system)] if system else []
    said += [("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def job(folder: Path, rows: list[Any]) -> JobDir:
    jobdir = JobDir(folder / "job")
    jobdir.lay_out(Order(job="job-1", fence=1, kind=JobKind.GATE_DATA, payload={"file": "file-1"}))
    write_source(jobdir.inputs / "data", "".join(json.dumps(row) + "\n" for row in rows).encode(), format="messages")
    return jobdir


def gated(folder: Path, rows: list[Any]) -> tuple[GateReport, list[dict[str, Any]]]:
    jobdir = job(folder, rows)
    outcome = run(jobdir, Stop())
    assert outcome.status == "succeeded", outcome
    return GateReport.model_validate(outcome.result), pq.read_table(jobdir.out / "gate.parquet").to_pylist()


def test_repeats_near_rows_and_personal_data_are_told_row_by_row(tmp_path):
    rows = [
        asked("Where is the heron?", LONG),  # 1
        asked("What is the time?", "Nine."),
        {"messages": "not usable"},  # 3
        asked("Where is the heron?", LONG),  # 4 repeats 1
        asked("Where is the heron?", LONG.replace("old", "new")),  # 5 is near 1
        asked("Mail?", "Ask ada@example.org or +49 30 1234567."),
        asked("Where is the heron?", LONG, system="You are a bird watcher."),  # 7 is near 1: only its system differs
        asked("What is the time?", "Nine."),  # 8 repeats 2
    ]
    report, lines = gated(tmp_path, rows)
    assert [line["number"] for line in lines] == [1, 2, 4, 5, 6, 7, 8]
    assert [line["duplicate_of"] for line in lines] == [None, None, 1, None, None, None, 2]
    assert [line["near_group"] for line in lines] == [1, None, 1, 1, None, 1, None]
    assert [line["pii"] for line in lines] == [None, None, None, None, "email,phone", None, None]
    assert (report.rows, report.duplicates, report.near_rows, report.near_groups, report.near_checked) == (
        7,
        2,
        3,
        1,
        5,
    )
    assert report.largest_groups[0].rows == (1, 5, 7)
    email, phone = report.findings
    assert (email.kind, email.count, email.first[0].row, email.first[0].field) == ("email", 1, 6, "messages[1].content")
    assert (email.first[0].found, phone.first[0].found) == ("a...@example.org", "+49...")


def test_rows_that_share_a_system_message_are_not_alike(tmp_path):
    rows = [asked(f"Say {word}.", f"{word}!", system=LONG * 10) for word in ("river", "stone", "candle", "window")]
    report, _ = gated(tmp_path, rows)
    assert (report.duplicates, report.near_rows, report.near_groups) == (0, 0, 0)


def test_the_first_ten_rows_and_the_largest_groups_are_shown(tmp_path):
    birds, mills = (" ".join(f"{name}{place}" for place in range(60)) for name in ("bird", "mill"))
    rows = [asked(birds, str(number)) for number in range(12)] + [asked(mills, str(number)) for number in range(15)]
    report, _ = gated(tmp_path, rows + [asked(f"Mail {number}", f"u{number}@example.org") for number in range(13)])
    largest = [(group.count, len(group.rows), group.rows[0]) for group in report.largest_groups[:2]]
    assert largest == [(15, 10, 13), (12, 10, 1)]
    assert (report.findings[0].count, [row.row for row in report.findings[0].first]) == (13, list(range(28, 38)))


def test_the_same_rows_give_the_same_bytes(tmp_path):
    rows = [asked(f"{LONG} {number}", "ok") for number in range(50)]
    gated(tmp_path / "a", rows), gated(tmp_path / "b", rows)
    one, other = ((tmp_path / name / "job/out/gate.parquet").read_bytes() for name in "ab")
    assert one == other


@pytest.mark.parametrize("usable", [0, 1])
def test_few_rows_are_no_special_case(tmp_path, usable):
    writer = PreparedWriter(tmp_path / "rows.parquet")
    for number in range(1, usable + 1):
        writer.add_example(number, EXAMPLE.validate_python({"kind": "text", "text": "alone"}))
    writer.close()
    report = check(Prepared(tmp_path / "rows.parquet"), tmp_path / "gate.parquet")
    assert (report.rows, report.duplicates, report.near_groups, report.largest_groups) == (usable, 0, 0, ())
    assert pq.read_table(tmp_path / "gate.parquet").num_rows == usable


def test_progress_is_told_and_a_wish_to_stop_is_heard(tmp_path):
    jobdir = job(tmp_path, [asked(f"Question {number}?") for number in range(30)])
    run(jobdir, Stop())
    said = [each for each in jobdir.said_since(0)[0] if isinstance(each, Progressed)]
    assert (said[0].done, said[-1].done, said[-1].total, said[-1].unit) == (0, 30, 30, "rows")
    stop = Stop()
    stop.ask()
    assert run(jobdir, stop) == Outcome(status="stopped")


def test_rows_that_changed_on_the_way_are_refused(tmp_path):
    jobdir = job(tmp_path, [asked("Q?")])
    (jobdir.inputs / "data/files/0").write_bytes(b'{"messages": []}')
    outcome = run(jobdir, Stop())
    assert outcome.status == "failed" and outcome.error is not None
    assert "changed on the way" in outcome.error["message"]


def test_validation_rows_that_are_trained_on_are_named_once_by_the_strongest_reason():
    def rows(*texts: tuple[str, str]) -> list[tuple[int, Any]]:
        return [
            (number, EXAMPLE.validate_python({"kind": "conversation", "turns": asked(*each)["messages"]}))
            for number, each in enumerate(texts, start=1)
        ]

    training = rows(("What is the time?", "Nine."), ("Where is the heron?", LONG), ("Where is the heron?", LONG))
    validation = rows(
        ("Where is the heron?", LONG),
        ("Where is the heron?", LONG.replace("old", "new")),
        ("what is the TIME", "It is a quarter past three in the afternoon."),
        ("Who are you?", "A helper of the reading room."),
    )
    found = overlap(training, validation)
    assert [(each.kind, each.count, each.first[0].row, each.first[0].found) for each in found] == [
        ("overlap_same", 1, 1, "row 2 of the training data says the same"),
        ("overlap_near", 1, 2, "row 2 of the training data says nearly the same"),
        ("overlap_question", 1, 3, "row 1 of the training data asks the same"),
    ]
    assert overlap(training, []) == overlap([], validation) == ()


def test_every_kind_that_this_stage_finds_has_words():
    assert all("does not know" not in words_of(kind).explained for kind in [*Personal, *KINDS])
