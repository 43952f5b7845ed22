"""What people read of a dataset: chips, turns, long texts, and rows that are not there yet."""

import pytest

from models.domain.dataset import Check, CheckState
from models.domain.example import Conversation, Labelled, Preference, Role, Text, ToolCall, Turn
from models.infra.stored_rows import SeenRow, Slice
from tests.webapp.dataset_pages import page_of, version_of
from webapp.views.dataset_page import begun, row_part, rows_part, used_words, versions_part
from webapp.views.dataset_words import (
    MOST_CHARACTERS,
    SHOWN_CHARACTERS,
    check_chip,
    parts_of,
    preview,
)

NEWEST, OLDER = version_of(2, made_from=1, note="row 4 corrected"), version_of(1)
PAGE = page_of(NEWEST, OLDER)
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


def test_answers_to_compare_and_judged_answers_are_told_with_what_they_are():
    asked, good, bad = (Turn(role=Role.USER, content="Tide?"), *(Turn(role=Role.ASSISTANT, content=t) for t in "ab"))
    compared, _ = parts_of(Preference(prompt=(asked,), chosen=(good,), rejected=(bad,)))
    assert [part.label for part in compared] == ["User", "Chosen · Assistant", "Rejected · Assistant"]
    judged, _ = parts_of(Labelled(prompt=(asked,), completion=(bad,), label=False))
    assert [part.label for part in judged] == ["User", "Found not good · Assistant"]


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
        row_part(found, asked=1, page=PAGE, shown=NEWEST),
        rows_part("dataset-1", found, begin=1, per_page=20, words="<i>", total=1),
    ):
        assert "<script>" not in html and "<i>" not in html and "&lt;script&gt;" in html


def test_a_row_far_into_a_long_file_is_being_found_and_one_behind_the_end_is_not_there():
    on_the_way = Slice(rows=(), following=900_000, is_cut=True)
    at_the_end = Slice(rows=(), following=None, is_cut=False)
    assert "Finding row 900,000" in row_part(on_the_way, asked=900_000, page=PAGE, shown=NEWEST)
    assert "There is no row 900,000" in row_part(at_the_end, asked=900_000, page=PAGE, shown=NEWEST)
    shown = {"begin": 900_000, "per_page": 20, "total": None}
    assert "Finding row 900,000" in rows_part("dataset-1", on_the_way, words="", **shown)
    searched = rows_part("dataset-1", on_the_way, words="tide", **shown)
    assert "Nothing found up to row 899,999" in searched and "Search on" in searched


@pytest.mark.parametrize(("runs", "words"), [(0, ""), (1, ", used by 1 run"), (3, ", used by 3 runs")])
def test_the_question_before_a_deletion_says_what_used_it(runs, words):
    assert used_words(runs) == words


def test_rows_are_edited_in_the_newest_version_by_who_may_and_never_in_a_sample():
    found = Slice(rows=(SeenRow(number=4, example=TALK, problem=None, raw=""),), following=None, is_cut=False)
    mine = row_part(found, asked=4, page=PAGE, shown=NEWEST, is_edited=True)
    assert 'data-next="3"' in mine and 'data-row="4"' in mine
    for page, shown, why in (
        (PAGE, OLDER, "Rows are edited in the newest version, 2"),
        (page_of(NEWEST, may_add=False), NEWEST, "Only its maker and the team"),
        (page_of(NEWEST, is_sample=True, may_add=False), NEWEST, "A sample cannot be edited. Download it"),
    ):
        html = row_part(found, asked=4, page=page, shown=shown, is_edited=True)
        assert why in html and "data-edit" not in html


def test_a_row_on_its_way_into_the_editor_cannot_break_out_of_its_attribute():
    hostile = Text(text="'><script>x</script>\"")
    found = Slice(rows=(SeenRow(number=1, example=hostile, problem=None, raw=""),), following=None, is_cut=False)
    html = row_part(found, asked=1, page=PAGE, shown=NEWEST, is_edited=True)
    assert "<script>" not in html and "\\u0027\\u003e\\u003cscript" in html


def test_versions_say_where_they_come_from_and_the_two_newest_are_compared():
    html = versions_part(PAGE)
    assert "row 4 corrected · from version 1" in html
    assert 'data-number="1" selected' in html and 'data-number="2" selected' in html
    assert "Compare two versions" not in versions_part(page_of(OLDER))


def test_a_version_of_several_files_offers_each_of_them():
    parts = [{"filename": name, "first_row": 1, "rows": 1} for name in ("a.jsonl", "b.csv")]
    html = versions_part(page_of(version_of(1, report={"parts": parts})))
    assert "content?part=1" in html and "content?part=2" in html and "b.csv" in html


def test_what_is_wrong_begins_with_a_capital_and_is_short_beside_the_report():
    assert begun("no row fits. Known formats: a, b.") == "No row fits. Known formats: a, b."
    assert begun("no row fits. Known formats: a, b.", is_short=True) == "No row fits."
    assert begun(None) is None
