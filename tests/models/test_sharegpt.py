"""ShareGPT rows: every name that roles go by, calls and their results, tools, and what is refused."""

import json

import pytest

from models.catalog.formats import FORMATS
from models.catalog.formats.base import Problem
from models.domain.errors import AppError
from models.domain.example import Role, ToolCall
from tests.detecting import detect

sharegpt = FORMATS["sharegpt"]
CALL = {"name": "tide", "arguments": {"day": "today"}}
TOOL = {"type": "function", "function": {"name": "tide", "parameters": {}}}


def talk(*turns, **more):
    """A row of (from, value) pairs; a bare role says "x"."""
    pairs = [turn if isinstance(turn, tuple) else (turn, "x") for turn in turns]
    return {"conversations": [{"from": who, "value": value} for who, value in pairs], **more}


def refusal_of(row):
    with pytest.raises(AppError) as raised:
        sharegpt.parse(row)
    return raised.value.facts["problem"], raised.value.facts["field"]


@pytest.mark.parametrize("asking", ["human", "user", "Human", "USER", "input", "prompter"])
@pytest.mark.parametrize("answering", ["gpt", "assistant", "chatgpt", "bard", "bing", "model", "bot", "GPT", "output"])
def test_people_and_models_go_by_many_names(asking, answering):
    example = sharegpt.parse(talk(("system", "Be brief."), (asking, "Who?"), (answering, "Odalys.")))
    assert [(turn.role, turn.content) for turn in example.turns] == [
        (Role.SYSTEM, "Be brief."), (Role.USER, "Who?"), (Role.ASSISTANT, "Odalys."),
    ]  # fmt: skip


@pytest.mark.parametrize("calling", ["function_call", "tool_call"])
@pytest.mark.parametrize("telling", ["observation", "tool", "tool_response", "function_response", "function"])
def test_a_call_is_parsed_and_its_result_is_a_turn_of_the_tool(calling, telling):
    example = sharegpt.parse(talk("human", (calling, json.dumps(CALL)), (telling, "noon"), "gpt"))
    assert example.turns[1].tool_calls == (ToolCall(name="tide", arguments={"day": "today"}),)
    assert (example.turns[2].role, example.turns[2].content) == (Role.TOOL, "noon")


@pytest.mark.parametrize(
    "value",
    [CALL, json.dumps(CALL), json.dumps([CALL]), {"name": "tide", "arguments": '{"day": "today"}'}, {"function": CALL}],
)
def test_a_call_is_an_object_or_its_text_or_a_list_of_them(value):
    example = sharegpt.parse(talk("human", ("function_call", value)))
    assert example.turns[1].tool_calls[0].arguments == {"day": "today"}


def test_calls_after_an_answer_and_calls_in_a_row_belong_together():
    other = json.dumps({"name": "wind", "arguments": {}})
    row = talk("human", ("gpt", "Let me look."), ("function_call", json.dumps(CALL)), ("function_call", other))
    turns = sharegpt.parse(row).turns
    assert len(turns) == 2 and turns[1].content == "Let me look."
    assert [call.name for call in turns[1].tool_calls] == ["tide", "wind"]


@pytest.mark.parametrize(
    "value", ["tide(today)", "{", "[]", "7", '{"arguments": {}}', '{"name": "tide", "arguments": [1]}']
)
def test_a_call_that_does_not_parse_is_named_by_its_place(value):
    row = talk("human", "gpt", "human", ("function_call", value))
    assert refusal_of(row) == (Problem.TOOL_CALL_UNREADABLE, "conversations[3].value")


@pytest.mark.parametrize("hidden", ['{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": NaN}', "[" * 100 + "]" * 100])
def test_the_text_of_a_call_hides_nothing_that_a_row_may_not_hold(hidden):
    value = f'{{"name": "tide", "arguments": {{"b": {hidden}}}}}'
    assert refusal_of(talk("human", ("function_call", value)))[0] == Problem.TOOL_CALL_UNREADABLE


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [TOOL["function"]], json.dumps([TOOL["function"]])])
def test_tools_are_a_list_or_its_text_with_or_without_their_type(tools):
    assert sharegpt.parse(talk("human", "gpt", tools=tools)).tools == (TOOL,)


@pytest.mark.parametrize("tools", [None, "", "[]", []])
def test_no_tools_are_written_in_four_ways(tools):
    assert sharegpt.parse(talk("human", "gpt", tools=tools)).tools == ()


def test_the_rows_system_text_comes_first_and_only_once():
    assert sharegpt.parse(talk("human", "gpt", system="Be brief.")).turns[0].content == "Be brief."
    twice = sharegpt.parse(talk(("system", "Be brief."), "human", "gpt", system="Be brief."))
    assert [turn.role for turn in twice.turns] == [Role.SYSTEM, Role.USER, Role.ASSISTANT]


def test_turns_may_be_keyed_by_role_and_content():
    row = {"conversations": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Odalys."}]}
    assert detect([row]) == ("sharegpt", 1.0)
    assert sharegpt.parse(row).turns[1].content == "Odalys."


@pytest.mark.parametrize(("role", "text"), [("from", "value"), ("role", "content")])
def test_messages_with_sharegpts_names_are_sharegpt(role, text):
    row = {"messages": [{role: "Human", text: "Who?"}, {role: "gpt", text: "Odalys."}]}
    assert detect([row]) == ("sharegpt", 1.0)
    assert len(sharegpt.parse(row).turns) == 2


@pytest.mark.parametrize(
    ("row", "problem", "field"),
    [
        ({}, Problem.MISSING_FIELD, "conversations"),
        ({"conversations": "x"}, Problem.WRONG_TYPE, "conversations"),
        ({"conversations": []}, Problem.EMPTY_FIELD, "conversations"),
        (talk("human", "narrator"), Problem.UNKNOWN_ROLE, "conversations[1].from"),
        (talk("human", ("gpt", " ")), Problem.EMPTY_FIELD, "conversations[1].value"),
        (talk("human", ("gpt", None)), Problem.MISSING_FIELD, "conversations[1].value"),
        (talk("human"), Problem.NO_ASSISTANT_TURN, "conversations"),
        (talk("gpt", "human"), Problem.ROLE_ORDER, "conversations[0].from"),
        (talk("gpt", "human", system="Be brief."), Problem.ROLE_ORDER, "conversations[0].from"),
        (talk("human", "human", "gpt"), Problem.ROLE_ORDER, "conversations[1].from"),
        (talk("human", "observation", "gpt"), Problem.ROLE_ORDER, "conversations[1].from"),
        (talk("human", ("function_call", "[1]")), Problem.TOOL_CALL_UNREADABLE, "conversations[1].value"),
        (talk("human", "gpt", tools="tide"), Problem.WRONG_TYPE, "tools"),
    ],
)
def test_a_bad_row_is_refused_with_its_kind_and_place(row, problem, field):
    assert refusal_of(row) == (problem, field)


def test_a_place_is_the_turn_of_the_file_also_after_merged_calls():
    calls = [("function_call", json.dumps(CALL))] * 2
    assert refusal_of(talk("human", *calls, ("observation", "noon"), "gpt", "gpt"))[1] == "conversations[5].from"
