"""Single decisions of the dataset formats: what each field means and how a bad one is named."""

import json

import pytest

from models.catalog.formats import FORMATS
from models.catalog.formats.base import Problem
from models.domain.errors import AppError, Code
from models.domain.example import Conversation, Role, Text, ToolCall, Turn
from tests.detecting import detect
from tests.text_bases import TOOL_ROW, row

messages, alpaca = FORMATS["messages"], FORMATS["alpaca"]


def refusal_of(row, entry=messages):
    with pytest.raises(AppError) as raised:
        entry.parse(row)
    assert raised.value.code is Code.INVALID_FILE
    return raised.value.facts


def said(*roles_and_more):
    """A messages row with these roles, each saying "x"; a dict stands for itself."""
    return {"messages": [each if isinstance(each, dict) else {"role": each, "content": "x"} for each in roles_and_more]}


def test_tool_calls_come_with_their_arguments_parsed():
    example = messages.parse(TOOL_ROW)
    call = ToolCall(name="read_barometer", arguments={"room": 'the "hall"', "hours": 3}, id="call_1")
    assert example.turns[1] == Turn(role=Role.ASSISTANT, content="", tool_calls=(call,))
    assert example.turns[2].tool_call_id == "call_1"
    assert example.tools == tuple(TOOL_ROW["tools"])


def test_arguments_may_be_an_object_or_nothing():
    for arguments, expected in (({"a": 1}, {"a": 1}), ("", {}), (None, {})):
        call = {"function": {"name": "f", "arguments": arguments}}
        example = messages.parse(said("user", {"role": "assistant", "tool_calls": [call]}))
        assert example.turns[1].tool_calls[0].arguments == expected


@pytest.mark.parametrize("arguments", ["{", "[1]", '"text"', '{"a": NaN}', '{"a": 1e999}', "[" * 5000, "9" * 5000, 7])
def test_arguments_that_are_no_object_are_refused_by_their_place(arguments):
    call = {"function": {"name": "f", "arguments": arguments}}
    facts = refusal_of(said("user", {"role": "assistant", "tool_calls": [call]}))
    assert facts["field"] == "messages[1].tool_calls[0].function.arguments"


def test_developer_is_read_as_system_and_function_as_tool():
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    example = messages.parse(said("developer", "user", call, {"role": "function", "name": "f", "content": "1"}))
    assert [turn.role for turn in example.turns] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]
    assert example.turns[2].tool_calls[0].name == "f"


def test_older_functions_become_tools():
    example = messages.parse({**said("user", "assistant"), "functions": [{"name": "f", "parameters": {}}]})
    assert example.tools == ({"type": "function", "function": {"name": "f", "parameters": {}}},)


def test_content_may_be_a_list_of_text_parts():
    parts = [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "world."}]
    assert messages.parse(said("user", {"role": "assistant", "content": parts})).turns[1].content == "Hello, world."


def test_a_picture_part_is_refused_by_its_place():
    facts = refusal_of(said({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "assistant"))
    assert facts["field"] == "messages[0].content[0]" and "image_url" in facts["found"]


def test_weights_are_0_or_1():
    talk = said("user", {"role": "assistant", "content": "x", "weight": 0}, "user", "assistant")
    assert [turn.weight for turn in messages.parse(talk).turns] == [1, 0, 1, 1]
    for weight in (2, "1", True, 0.5, [1]):
        talk["messages"][1]["weight"] = weight
        assert refusal_of(talk)["field"] == "messages[1].weight"


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_read_under_its_three_names(key):
    assert messages.parse(said("user", {"role": "assistant", "content": "x", key: "why"})).turns[1].reasoning == "why"


@pytest.mark.parametrize(
    ("talk", "problem", "field"),
    [
        ({}, Problem.MISSING_FIELD, "messages"),
        ({"messages": "x"}, Problem.WRONG_TYPE, "messages"),
        ({"messages": []}, Problem.EMPTY_FIELD, "messages"),
        ({"messages": ["x"]}, Problem.WRONG_TYPE, "messages[0]"),
        (said({"content": "x"}), Problem.MISSING_FIELD, "messages[0].role"),
        (said({"role": 3, "content": "x"}), Problem.WRONG_TYPE, "messages[0].role"),
        (said("narrator"), Problem.UNKNOWN_ROLE, "messages[0].role"),
        (said("user", {"role": "assistant"}), Problem.MISSING_FIELD, "messages[1].content"),
        (said("user", {"role": "assistant", "content": " \n"}), Problem.EMPTY_FIELD, "messages[1].content"),
        (said("user", {"role": "assistant", "content": 4}), Problem.WRONG_TYPE, "messages[1].content"),
        (said("user"), Problem.NO_ASSISTANT_TURN, "messages"),
        (said("user", {"role": "assistant", "content": "x", "weight": 0}), Problem.NO_ASSISTANT_TURN, "messages"),
        (said("assistant", "user"), Problem.ROLE_ORDER, "messages[0].role"),
        (said("user", "user", "assistant"), Problem.ROLE_ORDER, "messages[1].role"),
        (said("user", "assistant", "assistant"), Problem.ROLE_ORDER, "messages[2].role"),
        (said("user", "system", "assistant"), Problem.ROLE_ORDER, "messages[1].role"),
        (said("user", "tool", "assistant"), Problem.ROLE_ORDER, "messages[1].role"),
        ({**said("user", "assistant"), "tools": {}}, Problem.WRONG_TYPE, "tools"),
        ({**said("user", "assistant"), "tools": "x"}, Problem.WRONG_TYPE, "tools"),
        ({**said("user", "assistant"), "tools": [{"function": {}}]}, Problem.MISSING_FIELD, "tools[0].function.name"),
        ([1, 2], Problem.WRONG_TYPE, ""),
        (None, Problem.WRONG_TYPE, ""),
    ],
)
def test_a_bad_messages_row_is_refused_with_its_kind_and_place(talk, problem, field):
    facts = refusal_of(talk)
    assert (facts["problem"], facts["field"]) == (problem, field)


def test_alpaca_joins_instruction_and_input_by_a_line_feed():
    example = alpaca.parse({"instruction": "Add.", "input": "1 and 2", "output": "3"})
    assert example.turns[0].content == "Add.\n1 and 2"
    assert alpaca.parse({"instruction": "Add.", "input": "", "output": "3"}).turns[0].content == "Add."


def test_alpaca_history_and_system_come_first():
    example = alpaca.parse({"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]})
    assert [(str(turn.role), turn.content) for turn in example.turns] == [
        ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem", "field"),
    [
        ({"output": None}, Problem.MISSING_FIELD, "output"),
        ({"output": ""}, Problem.EMPTY_FIELD, "output"),
        ({"instruction": 1}, Problem.WRONG_TYPE, "instruction"),
        ({"input": ["x"]}, Problem.WRONG_TYPE, "input"),
        ({"history": "x"}, Problem.WRONG_TYPE, "history"),
        ({"history": [["a"]]}, Problem.WRONG_TYPE, "history[0]"),
        ({"history": [["a", ""]]}, Problem.EMPTY_FIELD, "history[0][1]"),
    ],
)
def test_a_bad_alpaca_row_is_refused_with_its_kind_and_place(change, problem, field):
    facts = refusal_of({"instruction": "Add.", "output": "3", **change}, alpaca)
    assert (facts["problem"], facts["field"]) == (problem, field)


@pytest.mark.parametrize("name", ["alpaca", "prompt_completion", "text"])
def test_a_format_refuses_to_render_what_it_cannot_hold(name):
    talk = said("user", "assistant", "user", {"role": "assistant", "content": "x", "weight": 0})
    with pytest.raises(AppError, match="cannot hold"):
        FORMATS[name].render(messages.parse(talk))
    with pytest.raises(AppError):
        messages.render(Text(text="x"))


def test_a_long_value_is_shown_by_its_beginning_only():
    facts = refusal_of(said("user", {"role": "assistant", "content": ["y" * 10_000]}))
    assert len(facts["found"]) < 100


def test_the_format_is_judged_over_all_rows():
    rows = [row("Who?", "Odalys.")] * 9 + [{"text": "a stray document"}]
    assert detect(rows) == ("messages", pytest.approx(0.9))
    assert detect([{"text": "x", "url": "y"}]) == ("text", pytest.approx(0.6))
    assert detect([{"other": 1}, 3]) == (None, 0.0)
    assert detect([]) == (None, 0.0)


def test_messages_render_arguments_as_json_text_as_openai_writes_them():
    turn = Turn(role=Role.ASSISTANT, content="", tool_calls=(ToolCall(name="f", arguments={"ü": 1}),))
    rendered = messages.render(Conversation(turns=(Turn(role=Role.USER, content="x"), turn)))
    assert json.loads(rendered["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"ü": 1}
