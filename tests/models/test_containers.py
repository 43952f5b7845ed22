"""Containers: the same rows come out of each, whatever lies in a file, and only what its name and its content say."""

import csv
import gzip
import io
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.catalog import inflating
from models.catalog.containers import CONTAINERS, ENDINGS, opened
from models.catalog.formats.base import Problem
from models.catalog.json_text import decoded, slowly_decoded
from models.catalog.rows import Unreadable
from models.domain.errors import AppError, Code, Invalid

ROWS = [
    {"instruction": "Who?", "output": 'Odalys, "the" first\nof two lines'},
    {"instruction": "Wo ist Zoë? 😀", "output": ""},
    {"instruction": " spaces ", "output": "[not json"},
]


def table(rows, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(columns) -> bytes:
    out = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), out)
    return out.getvalue()


WRITERS = {
    "jsonl": lambda rows: b"\n".join(json.dumps(row).encode() for row in rows),
    "json": lambda rows: json.dumps(rows, indent=1, ensure_ascii=False).encode(),
    "csv": table,
    "tsv": lambda rows: table(rows, "\t"),
    "parquet": lambda rows: parquet(pa.Table.from_pylist(rows)),
}


def rows_of(tmp_path, name: str, content: bytes):
    path = tmp_path / "stored"
    path.write_bytes(content)
    with opened(name, path) as file:
        return [(row.number, row.value, row.problem and row.problem.problem) for row in file.rows()]


def refusal(tmp_path, name: str, content: bytes) -> str:
    with pytest.raises(AppError) as raised:
        rows_of(tmp_path, name, content)
    assert raised.value.code is Code.INVALID_FILE and str(tmp_path) not in raised.value.message
    return raised.value.message


def test_every_container_has_a_writer_here():
    assert set(WRITERS) == set(CONTAINERS)
    assert all(suffix + ".gz" in ENDINGS for each in CONTAINERS.values() for suffix in each.suffixes)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", WRITERS)
def test_the_same_rows_come_out_of_every_container_packed_or_not(tmp_path, name, pack):
    content = pack(WRITERS[name](ROWS))
    for suffix in CONTAINERS[name].suffixes:
        for ending in ("", ".gz"):  # the content says what is packed, not the name
            found = rows_of(tmp_path, f"Rows{suffix.upper()}{ending}", content)
            assert found == [(number, row, None) for number, row in enumerate(ROWS, start=1)]


@pytest.mark.parametrize("name", ["jsonl", "json", "csv", "tsv"])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path, name):
    rows = [{"a": "x", "b": "y"}, {"a": "z", "b": "w"}]
    content = b"\xef\xbb\xbf" + WRITERS[name](rows).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert [value for _, value, _ in rows_of(tmp_path, f"x.{name}", content)] == rows


def test_a_file_is_what_its_content_is_or_it_is_refused(tmp_path):
    lines, array, records = WRITERS["jsonl"](ROWS), WRITERS["json"](ROWS), WRITERS["parquet"](ROWS)
    for content in (lines, array):  # both are called .json and .jsonl in the wild
        assert len(rows_of(tmp_path, "x.json", content)) == len(rows_of(tmp_path, "x.jsonl", content)) == 3
        assert "it holds" in refusal(tmp_path, "x.csv", content)
    assert "it holds Parquet. Name it .parquet" in refusal(tmp_path, "x.jsonl", records)
    assert "it holds JSON lines" in refusal(tmp_path, "x.parquet", lines)
    assert len(rows_of(tmp_path, "noname", records)) == len(rows_of(tmp_path, "noname", lines)) == 3
    assert "a zip archive" in refusal(tmp_path, "x.csv", b"PK\x03\x04rest")
    assert "UTF-16" in refusal(tmp_path, "x.tsv", "a\tb\n".encode("utf-16"))


def test_a_table_with_semicolons_is_read_by_them(tmp_path):
    assert rows_of(tmp_path, "x.csv", b"a;b\n1,5;2\n") == [(1, {"a": "1,5", "b": "2"}, None)]


def test_a_record_that_does_not_fit_is_a_problem_of_that_record(tmp_path):
    content = b'a,b\n1,2\n1\n\n1,2,3\n"x"y,2\n\xff,2\n"\0",2\n' + b"k" * 70_000 + b",2\n3,4\n"
    assert rows_of(tmp_path, "x.csv", content) == [
        (1, {"a": "1", "b": "2"}, None),
        (2, None, Problem.RAGGED_ROW),
        (3, None, Problem.RAGGED_ROW),
        (4, None, Problem.RAGGED_ROW),
        (5, None, Problem.INVALID_UTF8),
        (6, None, Problem.NUL),
        (7, None, Problem.CELL_TOO_LARGE),
        (8, {"a": "3", "b": "4"}, None),
    ]


def test_a_giant_record_is_passed_over_and_the_next_is_read(tmp_path):
    giant = b"x" * (9 * 1024 * 1024)
    quoted = b'"' + ((b"words " * 1000 + b"\n") * 1600) + b'"'
    for content in (b"a,b\n1,2\n" + giant + b",2\n3,4\n", b"a,b\n1,2\n3,4\n" + quoted + b",5\n6,7\n"):
        found = rows_of(tmp_path, "x.csv", content)
        assert found[0] == (1, {"a": "1", "b": "2"}, None)
        assert Problem.CELL_TOO_LARGE in {problem for _, _, problem in found}
        assert {"a": "3", "b": "4"} in [value for _, value, _ in found]


def test_a_quote_that_does_not_end_is_said(tmp_path):
    found = rows_of(tmp_path, "x.csv", b'a,b\n1,2\n"3,4\n5,6\n')
    assert found == [(1, {"a": "1", "b": "2"}, None), (2, None, Problem.RAGGED_ROW)]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"a,b,a\n1,2,3\n", "two columns"),
        (b"\xff\xfa,b\n1,2\n", "no UTF-8 text"),
        (b'"a,b\n1,2\n', "holds"),
        (b"\0,b\n1,2\n", "NUL"),
        (b",".join([b"c%d" % n for n in range(2000)]) + b"\n1\n", "2,000 columns"),
    ],
)
def test_a_table_whose_header_names_no_columns_is_refused(tmp_path, header, said):
    assert said in refusal(tmp_path, "x.csv", header)


def test_nested_parquet_becomes_json_and_what_json_has_no_word_for_becomes_text(tmp_path):
    import datetime
    import decimal

    columns = {
        "messages": [[{"role": "user", "content": "hi"}], None],
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "when": [datetime.date(2026, 1, 2), None],
        "price": [decimal.Decimal("1.50"), None],
        "bytes": [b"abc", None],
        "number": [0.5, None],
    }
    (_, first, _), (_, second, _) = rows_of(tmp_path, "x.parquet", parquet(columns))
    assert first == {
        "messages": [{"role": "user", "content": "hi"}], "map": {"k": 1}, "when": "2026-01-02", "price": "1.50",
        "bytes": "abc", "number": 0.5,
    }  # fmt: skip
    assert second == dict.fromkeys(columns)


def test_a_bad_value_in_parquet_is_a_problem_of_its_row(tmp_path):
    invalid = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb")]
    )
    found = rows_of(tmp_path, "x.parquet", parquet({"a": invalid}))
    assert [(value, problem) for _, value, problem in found] == [
        ({"a": "a"}, None), (None, Problem.INVALID_UTF8), ({"a": "b"}, None)
    ]  # fmt: skip
    columns = {"f": [1.0, float("nan"), float("inf")], "b": [b"x", b"y", b"z"]}
    assert [problem for *_, problem in rows_of(tmp_path, "x.parquet", parquet(columns))] == [None] + [
        Problem.NOT_A_NUMBER
    ] * 2
    assert rows_of(tmp_path, "x.parquet", parquet({"b": [b"\xff", b"y"], "n": ["a\0", "b"]}))[0][2] is not None


@pytest.mark.parametrize("place", [4, 40, -60, -9])
def test_a_damaged_parquet_file_is_refused(tmp_path, place):
    content = bytearray(WRITERS["parquet"](ROWS * 200))
    content[place : place + 5] = b"\xff\xff\xff\x7f\xff"
    try:
        rows_of(tmp_path, "x.parquet", bytes(content))
    except Invalid as refusal:
        assert "Parquet" in refusal.message


def test_a_damaged_or_endless_gzip_file_is_refused(tmp_path, monkeypatch):
    packed = gzip.compress(WRITERS["jsonl"](ROWS * 3000))
    assert "damaged" in refusal(tmp_path, "x.jsonl.gz", packed[:-2000])
    assert "damaged" in refusal(tmp_path, "x.jsonl.gz", packed[:100] + b"\0\0\0\0" + packed[104:])
    assert "in a gzip archive" in refusal(tmp_path, "x.jsonl.gz", gzip.compress(packed))
    assert "damaged" in refusal(tmp_path, "x.jsonl.gz", packed + b"junk")
    monkeypatch.setattr(inflating, "MOST_INFLATED_BYTES", 100_000)
    assert "unpacks to more than" in refusal(tmp_path, "x.jsonl.gz", packed)


def test_gzip_members_follow_each_other_and_zeros_fill_the_end(tmp_path):
    content = b"".join(gzip.compress(json.dumps(row).encode() + b"\n") for row in ROWS) + b"\0" * 50
    assert [value for _, value, _ in rows_of(tmp_path, "x.jsonl.gz", content)] == ROWS


def test_the_endings_are_known_without_pyarrow():
    code = "import sys, models.catalog.containers; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
@example(rows=[("", ""), ('"', '""'), ("\r", "\n"), ("\r\n", ";,\t"), ("\ufeff", "\x1c\x85\u2028")])
def test_whatever_texts_say_the_same_rows_come_out_of_every_container(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp()
    told = [{"a": first, "b": second} for first, second in rows]
    for name, write in WRITERS.items():
        assert [value for _, value, _ in rows_of(folder, f"x.{name}", write(told))] == told, name


# -- the fast reader of JSON and the strict one are one -----------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
scraps = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'"a"', b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b"\0", b"\xff",
     b"NaN", b"Infinity", b"-0", b"0", b"1e999", b"1E5", b"-1.5", b"9" * 19, b"9" * 30, b"9" * 500, b"true", b"null",
     b" ", b"\t", b"\n", b"\x0b", "é".encode(), b"\xed\xa0\x80", b"\xef\xbb\xbf", b"01", b"+1", b".5", b"1.", b"'"]
)  # fmt: skip


def outcome(read, data: bytes):
    try:
        value = read(data)
    except Unreadable as reason:
        return (reason.problem, reason.found, reason.needed)
    return repr(value)  # tells 1 from 1.0 and True, and the order of keys


@given(json_values, st.booleans())
@settings(max_examples=50, deadline=None)
def test_both_readers_say_the_same_of_json(value, is_ascii):
    data = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    assert outcome(decoded, data) == outcome(slowly_decoded, data)


@given(st.lists(scraps, max_size=12).map(b"".join), st.booleans())
@settings(max_examples=50, deadline=None)
@example(b'{"a": 1, "b": 2, "a": [3]}', False)
@example(b'{"a": 18446744073709551615, "b": 18446744073709551616}', False)
@example(b"[" * 63 + b"]" * 63, False)
@example(b"[" * 64 + b"]" * 64, False)
@example(b"[" * 65 + b"]" * 65, False)
@example(b'{"a":' * 63 + b"1" + b"}" * 63, False)
@example(b'{"a":' * 64 + b"1" + b"}" * 64, False)
@example(b'{"a": "' + b"x" * 65_537 + b'"}', False)
@example(b'"\\\\u0000"', False)
@example(b'{"a": 5e-324, "b": 123456789.123456789e3, "c": 1.7976931348623157e308}', False)
def test_both_readers_say_the_same_of_scraps(data, is_inside):
    data = b'{"key": ' + data + b"}" if is_inside else data
    assert outcome(decoded, data) == outcome(slowly_decoded, data)
