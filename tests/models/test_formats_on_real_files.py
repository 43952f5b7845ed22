"""Files that other people wrote, where they are at hand: each is detected as what it is and read to its last row."""

import json
from pathlib import Path

import pytest

from models.catalog.formats import FORMATS
from models.domain.example import Conversation, Preference, Role
from tests.detecting import detect

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def rows_of(name):
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not here")
    return json.loads((DATA / name).read_text())


def test_an_alpaca_file_is_read_whole():
    rows = rows_of("identity.json")
    assert detect(rows) == ("alpaca", 1.0)
    examples = [FORMATS["alpaca"].parse(row) for row in rows]
    assert [example.turns[-1].content for example in examples] == [row["output"] for row in rows]


def test_a_sharegpt_file_with_tools_is_read_whole_and_no_call_is_lost():
    rows = rows_of("glaive_toolcall_en_demo.json")
    assert detect(rows) == ("sharegpt", 1.0)
    examples = [FORMATS["sharegpt"].parse(row) for row in rows]
    assert all(isinstance(example, Conversation) for example in examples)
    called = [
        json.loads(turn["value"]) for row in rows for turn in row["conversations"] if turn["from"] == "function_call"
    ]
    calls = [call for example in examples for turn in example.turns for call in turn.tool_calls]
    assert len(calls) == 211 and [{"name": call.name, "arguments": call.arguments} for call in calls] == called
    assert [len(example.tools) for example in examples] == [len(json.loads(row["tools"])) for row in rows]
    assert sum(turn.role is Role.TOOL for example in examples for turn in example.turns) == 211


def test_a_file_of_sharegpt_pairs_is_read_whole():
    rows = rows_of("dpo_en_demo.json")
    assert detect(rows) == ("preference_sharegpt", 1.0)
    examples = [FORMATS["preference_sharegpt"].parse(row) for row in rows]
    assert all(isinstance(example, Preference) for example in examples)
    assert [len(example.prompt) for example in examples] == [len(row["conversations"]) for row in rows]
    assert [example.rejected[0].content for example in examples] == [row["rejected"]["value"] for row in rows]
