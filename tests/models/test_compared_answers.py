"""Rows with answers to compare or judge, in the spellings of TRL, LLaMA-Factory and OpenAI."""

import json

import pytest

from models.catalog.formats import FORMATS
from models.catalog.formats.base import Problem
from models.domain.errors import AppError
from models.domain.example import Conversation, Labelled, Preference, Role, Turn
from tests.detecting import detect

USER, ANSWER, OTHER = (
    {"role": "user", "content": "Which bird?"},
    {"role": "assistant", "content": "The heron."},
    {"role": "assistant", "content": "A bird."},
)
SYSTEM = {"role": "system", "content": "Be brief."}
HUMAN, GPT, OTHER_GPT = (
    {"from": "human", "value": "Which bird?"},
    {"from": "gpt", "value": "The heron."},
    {"from": "gpt", "value": "A bird."},
)
QUESTION = Turn(role=Role.USER, content="Which bird?")
CHOSEN, REJECTED = Turn(role=Role.ASSISTANT, content="The heron."), Turn(role=Role.ASSISTANT, content="A bird.")
PAIR = Preference(prompt=(QUESTION,), chosen=(CHOSEN,), rejected=(REJECTED,))
HH = "\n\nHuman: Which bird?\n\nAssistant: "


def openai(asked, better, worse):
    return {"input": {"messages": asked}, "preferred_completion": better, "non_preferred_completion": worse}


def refusal_of(row):
    with pytest.raises(AppError) as raised:
        FORMATS[detect([row])[0]].parse(row)
    return raised.value.facts["problem"], raised.value.facts["field"]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("preference", {"prompt": "Which bird?", "chosen": "The heron.", "rejected": "A bird."}),
        ("preference", {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]}),
        ("preference", {"prompt": "Which bird?", "chosen": [ANSWER], "rejected": [OTHER]}),
        ("preference", {"chosen": [USER, ANSWER], "rejected": [USER, OTHER]}),
        ("preference", {"prompt": "Which bird?", "chosen": [USER, ANSWER], "rejected": [USER, OTHER], "score": 4.5}),
        ("preference", {"prompt": [USER], "chosen": [USER, ANSWER], "rejected": [USER, OTHER]}),
        ("preference", {"prompt": "Which bird?", "messages": [USER, ANSWER], "chosen": [ANSWER], "rejected": [OTHER]}),
        ("preference", {"chosen": f"{HH}The heron.", "rejected": f"{HH}A bird."}),
        ("preference_alpaca", {"instruction": "Which bird?", "chosen": "The heron.", "rejected": "A bird."}),
        ("preference_sharegpt", {"conversations": [HUMAN], "chosen": GPT, "rejected": OTHER_GPT}),
        ("preference_sharegpt", {"messages": [USER], "chosen": ANSWER, "rejected": OTHER}),
        ("preference_openai", openai([USER], [ANSWER], [OTHER])),
    ],
)  # fmt: skip
def test_every_spelling_of_a_pair_is_known_and_means_the_same(name, row):
    assert detect([row]) == (name, 1.0)
    assert FORMATS[name].parse(row) == PAIR


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("kto", {"prompt": "Which bird?", "completion": "The heron.", "label": True}),
        ("kto", {"prompt": "Which bird?", "completion": "The heron.", "label": 1}),
        ("kto", {"prompt": [USER], "completion": [ANSWER], "label": "true"}),
        ("kto_tag", {"messages": [USER, ANSWER], "kto_tag": True}),
        ("kto_tag", {"conversations": [HUMAN, GPT], "kto_tag": True}),
        ("kto_tag", {"instruction": "Which bird?", "input": "", "output": "The heron.", "kto_tag": "True"}),
    ],
)
def test_every_spelling_of_a_label_is_known_and_means_the_same(name, row):
    assert detect([row]) == (name, 1.0)
    assert FORMATS[name].parse(row) == Labelled(prompt=(QUESTION,), completion=(CHOSEN,), label=True)


def test_a_system_text_of_the_row_leads_the_prompt():
    row = {"conversations": [HUMAN], "chosen": GPT, "rejected": OTHER_GPT, "system": "Be brief."}
    assert FORMATS["preference_sharegpt"].parse(row).prompt[0].content == "Be brief."
    row = {"instruction": "Which bird?", "chosen": "a", "rejected": "b", "system": "Be brief.", "history": [["c", "d"]]}
    assert [turn.content for turn in FORMATS["preference_alpaca"].parse(row).prompt] == [
        "Be brief.",
        "c",
        "d",
        "Which bird?",
    ]


def test_a_system_text_in_the_prompt_is_kept_before_talks_that_do_not_repeat_it():
    row = {"prompt": [SYSTEM], "chosen": [USER, ANSWER], "rejected": [USER, OTHER]}
    assert [str(turn.role) for turn in FORMATS["preference"].parse(row).prompt] == ["system", "user"]


def test_two_texts_without_a_prompt_are_two_answers_to_nothing():
    example = FORMATS["preference"].parse({"chosen": "The sky is blue.", "rejected": "The sky is green."})
    assert example.prompt == () and example.chosen[0].content == "The sky is blue."


def test_talks_are_split_where_they_begin_to_differ():
    talk = [SYSTEM, USER, ANSWER, {"role": "user", "content": "Why?"}]
    example = FORMATS["preference"].parse({"chosen": [*talk, ANSWER], "rejected": [*talk, OTHER]})
    assert len(example.prompt) == 4 and example.chosen == (CHOSEN,) and example.rejected == (REJECTED,)


@pytest.mark.parametrize(
    ("row", "problem", "field"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, Problem.SAME_ANSWERS, "rejected"),
        ({"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]}, Problem.SAME_ANSWERS, "rejected"),
        ({"chosen": [USER, ANSWER], "rejected": [USER]}, Problem.EMPTY_FIELD, "rejected"),
        ({"chosen": [USER, ANSWER], "rejected": [SYSTEM, USER, OTHER]}, Problem.ROLE_ORDER, "chosen[0].role"),
        ({"chosen": f"{HH}The heron.", "rejected": HH}, Problem.EMPTY_FIELD, "rejected"),
        ({"prompt": [USER, ANSWER], "chosen": "a", "rejected": "b"}, Problem.ROLE_ORDER, "prompt[1].role"),
        ({"prompt": "a", "chosen": [ANSWER, OTHER], "rejected": "b"}, Problem.ROLE_ORDER, "chosen[1].role"),
        ({"prompt": "a", "chosen": "", "rejected": "b"}, Problem.EMPTY_FIELD, "chosen"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, Problem.MISSING_FIELD, "chosen"),
        ({"prompt": "a", "chosen": 3, "rejected": "b"}, Problem.WRONG_TYPE, "chosen"),
        ({"conversations": [], "chosen": GPT, "rejected": OTHER_GPT}, Problem.EMPTY_FIELD, "conversations"),
        ({"conversations": [HUMAN], "chosen": HUMAN, "rejected": GPT}, Problem.ROLE_ORDER, "chosen[0].from"),
        (openai([], [ANSWER], [OTHER]), Problem.EMPTY_FIELD, "input.messages"),
        (openai([USER], [], [OTHER]), Problem.EMPTY_FIELD, "preferred_completion"),
        (openai([USER], [ANSWER], [ANSWER]), Problem.SAME_ANSWERS, "non_preferred_completion"),
        ({"messages": [USER], "kto_tag": True}, Problem.NO_ASSISTANT_TURN, "messages"),
        ({"messages": [USER, ANSWER, USER], "kto_tag": True}, Problem.NO_ASSISTANT_TURN, "messages"),
        ({"messages": [USER, ANSWER], "kto_tag": None}, Problem.MISSING_FIELD, "kto_tag"),
        ({"messages": [USER, ANSWER], "kto_tag": "good"}, Problem.WRONG_TYPE, "kto_tag"),
        ({"messages": [USER, ANSWER], "kto_tag": 2}, Problem.WRONG_TYPE, "kto_tag"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_its_kind_and_place(row, problem, field):
    assert refusal_of(row) == (problem, field)


def test_a_label_that_is_no_verdict_is_a_column_like_any_other():
    row = {"prompt": "Which bird?", "completion": "The heron.", "label": "nature"}
    assert detect([row]) == ("prompt_completion", 0.5)


def test_of_message_lists_only_the_completion_is_trained():
    row = {"prompt": [USER, ANSWER, {"role": "user", "content": "Why?"}], "completion": [OTHER]}
    example = FORMATS["prompt_completion"].parse(row)
    assert isinstance(example, Conversation)
    assert [turn.weight for turn in example.turns if turn.role is Role.ASSISTANT] == [0, 1]
    assert FORMATS["prompt_completion"].render(example) == json.loads(json.dumps(row))
