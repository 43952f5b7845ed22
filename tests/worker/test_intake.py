"""Intake: whatever a file holds, the report names it; good rows stay usable, and only AppError is raised."""

import json

import pytest

from models import samples
from models.catalog import rows as limits
from models.catalog.containers import opened
from models.catalog.containers.base import CHUNK_BYTES
from models.catalog.formats.base import Problem
from models.domain.errors import AppError, Code
from tests.sources import examine
from tests.text_bases import row
from worker.data import version_rows

GOOD = json.dumps(row("Who?", "Odalys."))
CELL = "x" * (64 * 1024)
BAD_LINES: dict[Problem, list[bytes]] = {
    Problem.NOT_JSON: [b"{", b"hello", b'{"messages": [}', b'{"a": "raw \t tab"}', b"{'a': 1}", b'{"a": 1} {"b": 2}'],
    Problem.NOT_A_NUMBER: [b'{"a": NaN}', b'{"a": [-Infinity]}', b'{"a": 1e999}'],
    Problem.HUGE_NUMBER: [b'{"a": ' + b"9" * 5000 + b"}", b'{"a": ' + b"9" * 401 + b"}"],
    Problem.TOO_DEEP: [b"[" * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70, b"[" * 900 + b"]" * 900],
    Problem.INVALID_UTF8: [b'{"a": "\xff"}', b'{"a": "\\ud800"}', b'{"\\udc00": 1}', b"\xc3\x28"],
    Problem.NUL: [b'{"a": "\x00"}', b'{"a": "\\u0000"}'],
    Problem.CELL_TOO_LARGE: [json.dumps(row("Who?", CELL + "x")).encode()],
    Problem.MISSING_FIELD: [b"{}", b'{"messages": [{"role": "user"}, {"role": "assistant", "content": "x"}]}'],
    Problem.WRONG_TYPE: [b"[1, 2]", b"3", b'"text"', b"null", b'{"messages": 3}'],
    Problem.EMPTY_FIELD: [b'{"messages": []}'],
    Problem.UNKNOWN_ROLE: [b'{"messages": [{"role": "bot", "content": "x"}]}'],
    Problem.ROLE_ORDER: [b'{"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "x"}]}'],
    Problem.NO_ASSISTANT_TURN: [b'{"messages": [{"role": "user", "content": "x"}]}'],
}


def file_of(tmp_path, content: bytes | str, name="data.jsonl"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(*each: bytes | str) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else line.encode() for line in each) + b"\n"


def kinds(report) -> dict[Problem, int]:
    return {problem.kind: problem.count for problem in report.problems}


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=lambda each: each.name)
def test_a_sample_is_usable_to_the_last_row(sample):
    report = examine(samples.path(sample.name))
    assert (report.format, report.confidence) == (sample.format, 1.0)
    assert report.rows == report.usable_rows > 20 and report.problems == ()


@pytest.mark.parametrize("kind", list(BAD_LINES))
def test_a_bad_line_is_named_and_the_good_ones_stay_usable(tmp_path, kind):
    for number, line in enumerate(BAD_LINES[kind]):
        report = examine(file_of(tmp_path, lines(GOOD, line, GOOD, GOOD), f"{number}.jsonl"))
        assert (report.format, report.rows, report.usable_rows) == ("messages", 4, 3)
        assert kinds(report) == {kind: 1}, line[:50]
        (shown,) = report.problems[0].first
        assert shown.row == 2 and shown.found and shown.needed


@pytest.mark.parametrize("kind", list(BAD_LINES))
def test_a_bad_element_of_an_array_does_not_take_the_next_with_it(tmp_path, kind):
    whole = [line for line in BAD_LINES[kind] if _brackets_match(line)]
    for number, element in enumerate(whole):
        content = b"[\n" + b",\n".join([GOOD.encode(), element, GOOD.encode()]) + b"]"
        report = examine(file_of(tmp_path, content, f"{number}.json"))
        assert (report.rows, report.usable_rows, kinds(report)) == (3, 2, {kind: 1}), element[:50]
        assert report.problems[0].first[0].row == 2


def _brackets_match(line: bytes) -> bool:
    return line.count(b"[") == line.count(b"]") and line.count(b"{") == line.count(b"}")


def test_a_report_of_ten_thousand_bad_rows_shows_the_first_ten_of_each_kind(tmp_path):
    bad = [each for group in BAD_LINES.values() for each in group if len(each) < 10_000]
    report = examine(file_of(tmp_path, lines(*(bad[i % len(bad)] for i in range(10_000)), *[GOOD] * 20_000)))
    assert (report.rows, report.usable_rows) == (30_000, 20_000)
    assert sum(kinds(report).values()) == 10_000 and len(report.problems) >= 12
    assert all(len(problem.first) == 10 for problem in report.problems)
    assert [problem.count for problem in report.problems] == sorted(kinds(report).values(), reverse=True)


def test_rows_are_numbered_by_line_and_blank_lines_are_no_rows(tmp_path):
    report = examine(file_of(tmp_path, lines(GOOD, "", "   ", "oops", GOOD)))
    assert (report.rows, report.usable_rows) == (3, 2)
    assert report.problems[0].first[0].row == 4


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    for content in (b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n" + GOOD.encode(), b"\xef\xbb\xbf[" + GOOD.encode() + b"]"):
        report = examine(file_of(tmp_path, content))
        assert report.rows == report.usable_rows > 0


def test_a_text_of_64_kb_is_still_read(tmp_path):
    assert examine(file_of(tmp_path, json.dumps(row("Who?", CELL)))).usable_rows == 1


def test_an_array_may_be_printed_over_many_lines_and_end_with_a_comma(tmp_path):
    pretty = json.dumps([row("Who?", 'Odalys, "the" [first] {one}\\'), row("a", "b")], indent=2)
    assert examine(file_of(tmp_path, pretty)).usable_rows == 2
    assert examine(file_of(tmp_path, f"[{GOOD},{GOOD},]")).usable_rows == 2


def test_an_array_longer_than_one_reading_is_cut_at_the_same_places(tmp_path):
    rows = [row(f"Question {i}?", f'Answer "{i}", é [{{' * (i % 50 + 1)) for i in range(4000)]
    content = json.dumps(rows, ensure_ascii=False)
    assert len(content) > 2 * CHUNK_BYTES
    path = file_of(tmp_path, content)
    with opened(path.name, path) as file:
        assert [each.value for each in file.rows()] == rows


@pytest.mark.parametrize(
    ("tail", "found"), [("", "does not end"), ("] [1]", "after the end"), (', {"a": "', "does not end")]
)
def test_an_array_that_breaks_off_keeps_the_rows_before(tmp_path, tail, found):
    report = examine(file_of(tmp_path, f"[{GOOD},{GOOD},{GOOD}{tail}"))
    assert report.usable_rows >= 2
    assert found in report.problems[0].first[0].found


def test_a_giant_line_is_passed_over_and_the_next_is_read(tmp_path):
    giant = b'{"a": "' + b"x" * (limits.LARGEST_ROW_BYTES + 3 * CHUNK_BYTES) + b'"}'
    report = examine(file_of(tmp_path, lines(GOOD, giant, GOOD)))
    assert report.usable_rows == 2 and kinds(report) == {Problem.CELL_TOO_LARGE: 1}
    assert report.problems[0].first[0].row == 2


def test_a_giant_element_ends_the_array_but_not_the_rows_before(tmp_path):
    giant = b'{"a": "' + b"x" * (limits.LARGEST_ROW_BYTES + 3 * CHUNK_BYTES) + b'"}'
    report = examine(file_of(tmp_path, b"[" + GOOD.encode() + b"," + giant + b"]"))
    assert report.usable_rows == 1 and kinds(report) == {Problem.CELL_TOO_LARGE: 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b"\n \n\t\n", "no rows"),
        (b"\xef\xbb\xbf", "no rows"),
        (b"[]", "no rows"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"PAR1rest", "Parquet"),
        (b"\x1f\x8brest", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (GOOD.encode("utf-16"), "UTF-16"),
        (b"name,age\nOdalys,7\n", "no row of the file fits a known format. Row 1"),
        (b'{"name": "x"}\n{"name": "y"}\n', "no row of the file fits a known format"),
        (bytes(range(256)) * 40, "no row of the file fits"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused_with_a_sentence(tmp_path, content, said):
    with pytest.raises(AppError, match=said) as raised:
        examine(file_of(tmp_path, content))
    assert raised.value.code is Code.INVALID_FILE
    assert str(tmp_path) not in raised.value.message


def test_more_rows_than_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(version_rows, "MOST_ROWS", 5)  # the limit is 2,000,000: too long a file for a test
    assert examine(file_of(tmp_path, lines(*[GOOD] * 5))).rows == 5
    with pytest.raises(AppError, match="more than 5 rows") as raised:
        examine(file_of(tmp_path, lines(*[GOOD] * 6)))
    assert raised.value.code is Code.INVALID_FILE


def test_a_few_strays_do_not_change_the_format_of_the_file(tmp_path):
    report = examine(file_of(tmp_path, lines(*['{"text": "stray"}'] * 3, *[GOOD] * 30)))
    assert (report.format, report.usable_rows, kinds(report)) == ("messages", 30, {Problem.MISSING_FIELD: 3})
    assert report.confidence == pytest.approx(30 / 33, abs=1e-4)
