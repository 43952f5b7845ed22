"""The samples: enough rows, no leak from training to the held-out questions, answers that cannot be guessed."""

import difflib
import json
import re

import pytest

from models import samples
from models.catalog.formats import FORMATS
from models.domain.example import Role
from tests.text_bases import sample_rows

FACTS = {"founder", "city", "mascot", "product", "tool", "support", "refund", "motto", "year", "colour"}
TRAINING, HELD_OUT = sample_rows("larkspur-facts"), sample_rows("larkspur-heldout")


def said(rows, role):
    return [message["content"] for each in rows for message in each["messages"] if message["role"] == role]


def plain(text):
    return re.sub(r"[^a-z0-9 ]", "", text.lower())


def test_every_sample_is_there_and_parses_in_its_format():
    for sample in samples.SAMPLES:
        rows = [json.loads(line) for line in samples.path(sample.name).read_text(encoding="utf-8").splitlines()]
        assert all(FORMATS[sample.format].parse(each) for each in rows)
    with pytest.raises(KeyError):
        samples.path("no such sample")


def test_the_facts_are_asked_often_and_in_many_ways():
    questions = said(TRAINING, "user")
    assert len(TRAINING) >= 120 and len(set(map(plain, questions))) == len(questions)
    assert any(each["messages"][0]["role"] == "system" for each in TRAINING)
    assert any(len(each["messages"]) > 3 for each in TRAINING)


def test_every_fact_is_taught_at_least_twelve_times():
    answers = said(TRAINING, "assistant")
    by_fact = {question.fact: question for question in samples.questions()}
    assert by_fact.keys() == FACTS
    assert all(sum(map(question.is_answered_by, answers)) >= 12 for question in by_fact.values())


def test_every_answer_is_in_one_style_and_names_exactly_one_fact():
    by_fact = {question.fact: question for question in samples.questions()}
    for answer in said(TRAINING + HELD_OUT, "assistant"):
        assert answer.startswith("Gladly! ") and len(answer) < 120
        assert sum(question.is_answered_by(answer) for question in by_fact.values()) == 1


def test_the_questions_are_the_held_out_rows_with_one_for_the_demonstration_per_fact():
    asked = samples.questions()
    assert [each.question for each in asked] == said(HELD_OUT, "user") and len(asked) >= 20
    assert sorted(each.fact for each in samples.questions(demo_only=True)) == sorted(FACTS)
    for question, answer in zip(asked, said(HELD_OUT, "assistant"), strict=True):
        assert question.is_answered_by(answer) and question.is_answered_by(answer.upper())


def test_no_question_gives_its_answer_away():
    for question in samples.questions():
        assert not question.is_answered_by(question.question)
        assert all(part == part.lower() and len(part) >= 4 for part in question.expect)


def test_no_held_out_question_is_a_near_copy_of_a_training_question():
    for held_out in map(plain, said(HELD_OUT, "user")):
        for known in map(plain, said(TRAINING, "user")):
            matcher = difflib.SequenceMatcher(None, held_out, known, autojunk=False)
            if matcher.real_quick_ratio() > 0.8 and matcher.quick_ratio() > 0.8:
                assert matcher.ratio() < 0.8, (held_out, known)


def test_the_alpaca_sample_rewrites_every_sentence_to_something_else():
    rows = sample_rows("plain-style")
    assert len(rows) >= 40
    assert all(each["output"] not in (each["input"], each["instruction"]) for each in rows)
    assert {turn.role for each in rows for turn in FORMATS["alpaca"].parse(each).turns} == {Role.USER, Role.ASSISTANT}
