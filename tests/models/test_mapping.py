"""Columns of a file as fields of a format: renaming, text from numbers, and mappings that cannot be."""

import pytest

from models.catalog.formats import FORMATS
from models.catalog.mapping import check_mapping, in_columns, mapped, suggested_mapping
from models.domain.errors import Code, Invalid
from tests.detecting import detect

alpaca, sharegpt = FORMATS["alpaca"], FORMATS["sharegpt"]
TO_ALPACA = {"instruction": "question", "output": "answer"}


def test_a_mapped_row_is_the_row_under_the_formats_names():
    row = {"question": "Add 1 and 2.", "answer": "3", "author": "Odalys"}
    assert mapped(row, TO_ALPACA) == {"instruction": "Add 1 and 2.", "output": "3", "author": "Odalys"}
    assert detect([mapped(row, TO_ALPACA)]) == ("alpaca", 1.0)


def test_two_columns_may_change_places():
    row = {"input": "the answer", "output": "the question"}
    assert mapped(row, {"input": "output", "output": "input"}) == {"input": "the question", "output": "the answer"}


def test_a_column_that_stands_for_a_field_no_longer_goes_by_its_own_name():
    row = {"instruction": "unused", "input": "Which bird?", "output": "The heron."}
    example = alpaca.parse(mapped(row, {"instruction": "input"}))
    assert example.turns[0].content == "Which bird?"


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (2.5, "2.5"), (True, "true"), (False, "false"), (0, "0")])
def test_numbers_and_booleans_become_text_where_text_is_read(value, text):
    assert mapped({"answer": value}, {"output": "answer"}) == {"output": text}


def test_what_is_no_text_stays_what_it_is():
    assert mapped({"good": True, "talk": []}, {"label": "good", "messages": "talk"}) == {"label": True, "messages": []}


def test_null_does_not_become_the_word_none():
    assert mapped({"question": "Who?", "answer": None}, TO_ALPACA)["output"] is None


@pytest.mark.parametrize("row", [{"question": "Who?"}, {"question": "Who?", "answer": None}])
def test_a_row_without_the_column_is_refused_as_a_row(row):
    with pytest.raises(Invalid) as raised:
        alpaca.parse(mapped(row, TO_ALPACA))
    assert raised.value.facts["problem"] == "missing_field"
    assert in_columns(raised.value.facts["field"], TO_ALPACA) == "answer"


@pytest.mark.parametrize(
    ("field", "expected"),
    [("messages[2].role", "talk[2].role"), ("messages", "talk"), ("tools[0]", "tools[0]"), ("", "")],
)
def test_the_place_of_a_problem_is_named_by_the_files_column(field, expected):
    assert in_columns(field, {"messages": "talk"}) == expected


def test_a_mapping_that_fits_is_accepted():
    check_mapping(alpaca, TO_ALPACA, ["question", "answer", "date"])
    check_mapping(alpaca, {"output": "answer"}, ["instruction", "answer"])
    check_mapping(sharegpt, {"system": "rules"}, ["messages", "rules"])


@pytest.mark.parametrize(
    ("mapping", "columns", "words"),
    [
        ({"outptu": "answer"}, ["question", "answer"], 'no field "outptu"'),
        ({"output": "anwser"}, ["question", "answer"], 'no column "anwser"; its columns are "question", "answer"'),
        ({"output": "answer"}, ["question", "answer"], 'needs "instruction"'),
        ({"input": "instruction", "output": "answer"}, ["instruction", "answer"], 'needs "instruction"'),
        ({}, ["a", "b"], 'needs "instruction", "output"'),
    ],
)
def test_a_mapping_that_cannot_be_is_refused_in_words(mapping, columns, words):
    with pytest.raises(Invalid, match=words) as raised:
        check_mapping(alpaca, mapping, columns)
    assert raised.value.code is Code.INVALID_REQUEST


def test_a_hundred_columns_do_not_make_an_endless_sentence():
    with pytest.raises(Invalid) as raised:
        check_mapping(alpaca, {}, [f"column {number}" * 20 for number in range(100)])
    assert len(raised.value.message) < 1200 and "88 more" in raised.value.message


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("alpaca", ["Question", "Answer", "id"], {"instruction": "Question", "output": "Answer"}),
        ("alpaca", ["instruction", "output"], {}),
        ("alpaca", ["question", "input", "response"], {"instruction": "question", "output": "response"}),
        ("prompt_completion", ["user", "assistant"], {"prompt": "user", "completion": "assistant"}),
        ("sharegpt", ["dialogue", "System Prompt"], {"conversations": "dialogue", "system": "System Prompt"}),
        ("text", ["a", "b"], {}),
    ],
)
def test_columns_are_suggested_by_their_names(name, columns, expected):
    assert suggested_mapping(FORMATS[name], columns) == expected
