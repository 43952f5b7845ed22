"""Intake: whatever a file holds, the report names it; good rows stay usable, and only AppError is raised."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import samples
from models.catalog import rows as limits
from models.catalog.containers import opened
from models.catalog.containers.base import CHUNK_BYTES
from models.catalog.formats import FORMATS
from models.catalog.formats.base import Problem
from models.catalog.prepared import Prepared
from models.domain.errors import AppError, Code, Invalid
from models.domain.reading import Reading
from tests.sources import examine, write_source
from tests.text_bases import row
from worker.data import version_rows
from worker.data.intake import prepare
from worker.data.source import Source

REAL = Path(__file__).parents[3] / "shared" / "data"

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


# -- several files, columns, readings -----------------------------------------------------------------------------


def prepared(tmp_path, *files: tuple[str, bytes | str], **reading):
    """The report and the prepared rows of such a version."""
    paths = [(name, file_of(tmp_path, content, f"part-{place}")) for place, (name, content) in enumerate(files)]
    report = prepare(paths, Reading(**reading), tmp_path / "rows.parquet")
    return report, Prepared(tmp_path / "rows.parquet")


def as_csv(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


PAIR = {"instruction": "Who?", "output": "Odalys."}


def test_the_rows_of_several_files_are_numbered_on(tmp_path):
    report, rows = prepared(
        tmp_path,
        ("a.jsonl", lines(json.dumps(PAIR), "", json.dumps(PAIR))),
        ("b.csv", as_csv(PAIR, PAIR) + "only one\n"),
        ("c.json", json.dumps([PAIR])),
    )
    assert [number for number, _ in rows.examples()] == [1, 3, 4, 5, 7]
    assert [(part.filename, part.first_row, part.rows) for part in report.parts] == [
        ("a.jsonl", 1, 2), ("b.csv", 4, 3), ("c.json", 7, 1)
    ]  # fmt: skip
    assert (report.container, report.rows, report.usable_rows) == ("jsonl, csv, json", 6, 5)
    assert report.problems[0].first[0].row == 6
    with pytest.raises(Invalid, match="no rows"):
        prepared(tmp_path, ("a.jsonl", GOOD), ("b.jsonl", "\n"))


def test_a_person_may_overrule_the_format_and_map_the_columns(tmp_path):
    content = as_csv({"q": "Who?", "a": "Odalys.", "id": "7"}, {"q": "When?", "a": "", "id": "8"})
    with pytest.raises(Invalid, match="which column stands for which field"):
        prepared(tmp_path, ("x.csv", content))
    mapping = {"instruction": "q", "output": "a"}
    report, rows = prepared(tmp_path, ("x.csv", content), mapping=mapping)
    assert (report.format, report.is_overruled, report.usable_rows) == ("alpaca", True, 1)
    assert report.problems[0].first[0].field == "a"  # in the file's own words
    assert {column.name: column.is_read for column in report.columns} == {"q": True, "a": True, "id": False}
    (first,) = rows.read(0, 1)
    assert first.example is not None and first.example.turns[0].content == "Who?" and first.columns == '{"id": "7"}'
    report, _ = prepared(tmp_path, ("x.jsonl", json.dumps(PAIR)), format="prompt_completion")
    assert (report.format, report.is_overruled, report.usable_rows) == ("prompt_completion", True, 0)
    assert report.confidence == 0.0 and report.others[0][0] == "alpaca"


def test_a_format_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Invalid, match="no format"):
        prepared(tmp_path, ("x.jsonl", GOOD), format="nothing")


def test_the_whole_file_decides_and_not_its_first_rows(tmp_path):
    first, rest = '{"text": "a stray"}', GOOD
    report, rows = prepared(tmp_path, ("x.jsonl", lines(*[first] * 400, *[rest] * 500)))
    assert (report.format, report.usable_rows) == ("messages", 500)
    assert report.confidence == pytest.approx(500 / 900, abs=1e-4) and report.others[0][0] == "text"
    assert rows.rows == 900 and next(rows.examples())[0] == 401
    report, _ = prepared(tmp_path, ("x.jsonl", lines(*['{"other": 1}'] * 400, rest)))
    assert (report.format, report.usable_rows) == ("messages", 1)


def test_columns_are_counted_and_short_ones_that_no_field_needs_are_kept(tmp_path):
    rows = [PAIR | {"id": 1, "tags": ["x"], "long": "y" * 500, "score": 0.5, "ok": True}, PAIR | {"id": None}, PAIR]
    report, stored = prepared(tmp_path, ("x.jsonl", lines(*map(json.dumps, rows))))
    assert [(each.name, each.rows, each.is_read) for each in report.columns] == [
        ("instruction", 3, True), ("output", 3, True), ("id", 2, False), ("tags", 1, False), ("long", 1, False),
        ("score", 1, False), ("ok", 1, False),
    ]  # fmt: skip
    assert [row.columns for row in stored.read(0, 3)] == ['{"id": 1, "score": 0.5, "ok": true}', None, None]
    wide = PAIR | {f"column {place}": "z" * 100 for place in range(50)}
    _, stored = prepared(tmp_path, ("x.jsonl", json.dumps(wide)))
    kept = stored.read(0, 1)[0].columns
    assert kept is not None and 800 < len(kept) <= 1024


def test_rows_with_columns_of_their_own_do_not_grow_the_report(tmp_path):
    rows = [json.dumps(PAIR | {f"{place} {'k' * (place % 7 * 1000)}": place}) for place in range(3000)]
    report, _ = prepared(tmp_path, ("x.jsonl", lines(*rows)))
    assert (report.format, report.confidence, report.usable_rows) == ("alpaca", 1.0, 3000)
    assert len(report.columns) <= 200 and report.columns[0].rows == 3000


def test_cells_that_hold_json_are_read_as_lists_where_a_format_needs_one(tmp_path):
    talk = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Odalys."}]
    tools = [{"type": "function", "function": {"name": "look"}}]
    report, rows = prepared(tmp_path, ("x.csv", as_csv({"messages": json.dumps(talk), "tools": json.dumps(tools)})))
    assert (report.format, report.usable_rows) == ("messages", 1)
    ((_, example),) = rows.examples()
    assert example.tools == tuple(tools)
    report, rows = prepared(tmp_path, ("x.csv", as_csv({"prompt": "[1]", "completion": '[{"x": "stays text"}]'})))
    ((_, example),) = rows.examples()
    assert [turn.content for turn in example.turns] == ["[1]", '[{"x": "stays text"}]']
    labelled = [{"prompt": "Who?", "completion": "Odalys.", "label": label} for label in ("True", "false", "1")]
    report, rows = prepared(tmp_path, ("x.csv", as_csv(*labelled)))
    assert report.format == "kto" and [example.label for _, example in rows.examples()] == [True, False, True]


def test_equal_files_become_equal_prepared_rows_and_training_reads_the_very_same_examples(tmp_path):
    call = {"id": "1", "function": {"name": "tide", "arguments": '{"x": [1, 2.50, 1e30, null, "é"]}'}}
    tool_talk = {
        "messages": [
            {"role": "user", "content": "Tide?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "noon", "tool_call_id": "1"},
            {"role": "assistant", "content": " At noon.\n", "reasoning_content": "hm", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "tide", "parameters": {"a": 12345678901234567890}}}],
    }
    content = lines(GOOD, "oops", json.dumps(tool_talk), json.dumps(row("Zoë?", "ja 😀 \u2028")))
    _, rows = prepared(tmp_path, ("x.jsonl", content))
    parsed = [
        (number, FORMATS["messages"].parse(json.loads(line)))
        for number, line in enumerate(content.splitlines(), start=1)
        if line != b"oops"
    ]
    assert [repr(each) for each in rows.examples()] == [repr(each) for each in parsed]
    first = (tmp_path / "rows.parquet").read_bytes()
    write_source(tmp_path / "source", content)
    source = Source(tmp_path / "source")  # as a training does where nobody has prepared the rows
    assert list(source.prepared().examples()) == parsed
    assert (tmp_path / "source" / "rows.parquet").read_bytes() == first


@pytest.mark.parametrize("entry", FORMATS.values(), ids=lambda entry: entry.name)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_formats_know_a_row_by_its_columns_and_not_by_what_its_texts_say(entry, data):
    """The law that lets a million rows of the same columns be sniffed once, unless a format judges one of them."""
    kinds = {str: st.text(max_size=9), int: st.integers(), bool: st.booleans(), type(None): st.none()}
    names = data.draw(st.sets(st.sampled_from(sorted(set().union(*(each.reads for each in FORMATS.values()))))))
    shape = {name: data.draw(st.sampled_from(sorted(kinds, key=str))) for name in sorted(names)}
    rows = [{name: data.draw(kinds[kind]) for name, kind in shape.items()} for _ in range(2)]
    rows[1] |= {name: rows[0][name] for name in entry.judges & names}
    assert entry.sniff(rows[0]) == entry.sniff(rows[1])
    if names.isdisjoint(entry.reads):
        assert entry.sniff(rows[0]) == 0


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("identity.json", "alpaca"),
        ("glaive_toolcall_en_demo.json", "sharegpt"),
        ("dpo_en_demo.json", "preference_sharegpt"),
    ],
)
def test_real_files_are_usable_to_the_last_row(tmp_path, name, format_name):
    path = REAL / name
    if not path.is_file():
        pytest.skip("the real files are not here")
    report = examine(path)
    assert (report.format, report.problems) == (format_name, ()) and report.rows == report.usable_rows > 50
