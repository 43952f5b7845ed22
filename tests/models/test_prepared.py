"""Prepared rows: what was written is read back, from any place, and equal rows are equal bytes."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog import prepared as module
from models.catalog.formats.base import Problem
from models.catalog.prepared import Prepared, PreparedWriter
from models.domain.example import Conversation, Labelled, Preference, Role, Text, ToolCall, Turn


def ask(text="Who?"):
    return Turn(role=Role.USER, content=text)


def answer(text="Odalys.", **more):
    return Turn(role=Role.ASSISTANT, content=text, **more)


CALL = ToolCall(name="look", arguments={"big": 10**300, "f": 1e22, "deep": [{"a": [None, True]}], "é": "\n"}, id="1")
EXAMPLES = [
    Conversation(turns=(ask(), answer(weight=0), ask("And?"), answer("", tool_calls=(CALL,), reasoning="hm"))),
    Conversation(turns=(ask(), answer()), tools=({"type": "function", "function": {"name": "look"}},)),
    Text(text=' "x" \u2028 😀'),
    Preference(chosen=(answer("a"),), rejected=(answer("b"),)),
    Labelled(prompt=(ask(),), completion=(answer(),), label=False),
]


def write(path, examples, first=1):
    writer = PreparedWriter(path)
    for number, example in enumerate(examples, start=first):
        if example is None:
            writer.add_problem(number, Problem.NOT_JSON, field="f", found="x", needed="y", raw="{" * 9000)
        else:
            writer.add_example(number, example, '{"id": 3}')
    writer.close()
    return Prepared(path)


def test_every_kind_of_example_comes_back_as_it_was(tmp_path):
    rows = write(tmp_path / "rows", [*EXAMPLES, None])
    assert [example for _, example in rows.examples()] == EXAMPLES
    *good, bad = rows.read(0, 99)
    assert [row.example for row in good] == EXAMPLES and len({row.sha for row in good}) == len(EXAMPLES)
    assert (bad.number, bad.example, bad.problem, bad.found) == (6, None, Problem.NOT_JSON, "x")
    assert len(bad.raw) == module.SHOWN_RAW_CHARACTERS and bad.sha is None
    assert [found.row for found in rows.problems()] == [6]
    assert good[0].columns == '{"id": 3}'


arguments = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=5), arguments, max_size=3))
@settings(max_examples=50, deadline=None)
def test_arguments_of_calls_come_back_as_they_were(tmp_path_factory, values):
    example = Conversation(turns=(ask(), answer("", tool_calls=(ToolCall(name="x", arguments=values),))))
    rows = write(tmp_path_factory.getbasetemp() / "arguments", [example])
    ((_, found),) = rows.examples()
    assert repr(found) == repr(example)  # tells 1 from 1.0


def test_equal_rows_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, [*EXAMPLES, None] * 2000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_row_is_found_by_place_and_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 7)
    examples = [Text(text=f"text {number}") for number in range(10, 60)]
    rows = write(tmp_path / "rows", examples, first=10)
    assert rows.rows == 50 and rows.metadata.num_row_groups == 8
    assert [row.number for row in rows.read(5, 11)] == list(range(15, 26))
    assert [row.number for row in rows.read(48, 11)] == [58, 59] and rows.read(50, 1) == []
    for number in range(10, 60):
        found = rows.row(number)
        assert found is not None and found.example == Text(text=f"text {number}")
    first = rows.row(1)
    assert first is not None and first.number == 10 and rows.row(60) is None


def test_long_rows_are_not_held_until_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHARACTERS_PER_GROUP", 10_000)
    rows = write(tmp_path / "rows", [Text(text="x" * 4000)] * 9)
    assert rows.metadata.num_row_groups == 3 and len(rows.read(0, 99)) == 9


def test_a_file_without_rows_is_read_as_such(tmp_path):
    rows = write(tmp_path / "rows", [])
    assert rows.rows == 0 and rows.read(0, 5) == [] and list(rows.examples()) == [] and rows.row(1) is None


def test_the_example_column_is_plain_json(tmp_path):
    rows = write(tmp_path / "rows", EXAMPLES)
    assert [json.loads(text)["kind"] for (text,) in rows.columns("example")] == [each.kind for each in EXAMPLES]
