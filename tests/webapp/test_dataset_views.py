"""What people read of a dataset: chips, turns, long texts, and rows that are not there yet."""

import pytest

from models.catalog.formats.base import Problem
from models.domain.dataset import Check, CheckState
from models.domain.example import Conversation, Role, Text, ToolCall, Turn
from models.infra.stored_rows import SeenRow, Slice
from webapp.views.dataset_page import row_part, rows_part, used_words
from webapp.views.dataset_words import (
    MOST_CHARACTERS,
    PROBLEMS,
    SHOWN_CHARACTERS,
    check_chip,
    parts_of,
    preview,
    problem_title,
)

CALL = ToolCall(name="tide", arguments={"day": "today"})
TALK = Conversation(
    turns=(
        Turn(role=Role.SYSTEM, content="Be brief."),
        Turn(role=Role.USER, content="When is high\ntide?", name="Odalys"),
        Turn(role=Role.ASSISTANT, content="", reasoning="Look it up.", tool_calls=(CALL,)),
        Turn(role=Role.TOOL, content="noon"),
        Turn(role=Role.ASSISTANT, content="At noon.", weight=0),
    ),
    tools=({"type": "function", "function": {"name": "tide"}},),
)


def test_every_kind_of_problem_has_a_title_and_a_newer_one_is_still_readable():
    assert set(PROBLEMS) == set(Problem)
    assert problem_title("some_new_kind") == "some new kind"


@pytest.mark.parametrize(
    ("state", "share", "words"),
    [
        (CheckState.CHECKING, 0.4, "checking 40 % ..."),
        (CheckState.CHECKING, None, "checking ..."),
        (CheckState.GOOD, None, "ready"),
        (CheckState.WITH_PROBLEMS, None, "1,200 rows left out"),
    ],
)
def test_a_check_is_a_word_and_a_shape(state, share, words):
    chip = check_chip(Check(state=state, share=share), 5000, 3800)
    assert chip.word == words and chip.shape


def test_a_conversation_is_told_turn_by_turn():
    parts, is_cut = parts_of(TALK)
    assert not is_cut
    assert [(part.label, part.begins, part.note) for part in parts] == [
        ("Tools", "tide", "1 the model may call"),
        ("System", "Be brief.", ""),
        ("User · Odalys", "When is high\ntide?", ""),
        ("Assistant, thinking", "Look it up.", ""),
        ("Assistant calls", "tide(day='today')", ""),
        ("Tool", "noon", ""),
        ("Assistant", "At noon.", "not trained"),
    ]
    assert preview(TALK) == [("User", "When is high tide?"), ("Assistant", "At noon.")]


def test_a_long_text_is_shown_in_part_and_a_giant_row_is_cut():
    ((part,), is_cut) = parts_of(Text(text="x" * 5000))
    assert (len(part.begins), part.length, is_cut) == (SHOWN_CHARACTERS, 5000, False)
    giant = Conversation(turns=tuple(Turn(role=Role.USER, content="y" * 60_000) for _ in range(8)))
    parts, is_cut = parts_of(giant)
    assert is_cut and sum(part.length for part in parts) == MOST_CHARACTERS


def test_markup_in_a_row_stays_text():
    seen = SeenRow(number=1, example=Text(text="<script>x</script>" * 200), problem=None, raw="<b>")
    found = Slice(rows=(seen,), following=None, is_cut=False)
    for html in (
        row_part(found, asked=1),
        rows_part("dataset-1", found, begin=1, per_page=20, words="<i>", total=1),
    ):
        assert "<script>" not in html and "<i>" not in html and "&lt;script&gt;" in html


def test_a_row_far_into_a_long_file_is_being_found_and_one_behind_the_end_is_not_there():
    on_the_way = Slice(rows=(), following=900_000, is_cut=True)
    at_the_end = Slice(rows=(), following=None, is_cut=False)
    assert "Finding row 900,000" in row_part(on_the_way, asked=900_000)
    assert "There is no row 900,000" in row_part(at_the_end, asked=900_000)
    shown = {"begin": 900_000, "per_page": 20, "total": None}
    assert "Finding row 900,000" in rows_part("dataset-1", on_the_way, words="", **shown)
    searched = rows_part("dataset-1", on_the_way, words="tide", **shown)
    assert "Nothing found up to row 899,999" in searched and "Search on" in searched


@pytest.mark.parametrize(("runs", "words"), [(0, ""), (1, ", used by 1 run"), (3, ", used by 3 runs")])
def test_the_question_before_a_deletion_says_what_used_it(runs, words):
    assert used_words(runs) == words
