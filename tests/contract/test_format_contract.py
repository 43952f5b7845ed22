"""What every dataset format promises. A new file in `models/catalog/formats` is under this contract at once."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog import formats
from models.catalog.formats import FORMATS
from models.domain.errors import AppError
from models.domain.example import EXAMPLE
from tests import examples
from tests.detecting import detect
from tests.examples import questions_and_answers

# What a format can hold, where that is more or other than one question and one answer.
HOLDS = {
    "messages": examples.conversations,
    "sharegpt": examples.said_conversations,
    "alpaca": examples.plain_conversations,
    "text": examples.texts,
    "prompt_completion": examples.completions,
    "preference": examples.preferences,
    "preference_alpaca": examples.plain_preferences,
    "preference_openai": examples.preferences,
    "preference_sharegpt": examples.preferences,
    "kto": examples.labelled,
    "kto_tag": lambda: examples.labelled(most_turns=1),
}
every_format = pytest.mark.parametrize("name", list(FORMATS))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@every_format
def test_a_format_is_named_like_its_file_and_says_what_it_is(name):
    entry = FORMATS[name]
    assert entry.name == name and entry.title
    assert entry.fields and {field.name for field in entry.fields} <= entry.reads


@every_format
def test_the_example_row_parses_and_is_claimed_surely(name):
    entry = FORMATS[name]
    EXAMPLE.validate_python(entry.parse(entry.example), strict=True)
    assert entry.sniff(entry.example) == 1.0
    assert detect([entry.example]) == (name, 1.0)


@every_format
def test_no_other_format_claims_the_example_row_as_surely(name):
    claims = {other: entry.sniff(FORMATS[name].example) for other, entry in FORMATS.items() if other != name}
    assert max(claims.values()) <= 0.6


@every_format
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_is_rendered_parses_to_the_same_example(name, data):
    example = data.draw(HOLDS.get(name, questions_and_answers)())
    row = FORMATS[name].render(example)
    assert FORMATS[name].parse(json.loads(json.dumps(row))) == example
    assert detect([row]) == (name, 1.0)
    assert row.keys() <= FORMATS[name].reads


@every_format
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_json_is_parsed_or_refused_with_the_facts_of_a_problem(name, data):
    row = data.draw(JSON | _near(FORMATS[name].example))
    assert 0.0 <= FORMATS[name].sniff(row) <= 1.0
    try:
        FORMATS[name].parse(row)
    except AppError as refusal:
        assert {"problem", "field", "found", "needed"} <= refusal.facts.keys()
        assert len(refusal.message) < 400


SHOUTED = """
from models.catalog.formats.base import Field, Format, cannot_hold, required_text
from models.domain.example import Text

def render(example):
    if not isinstance(example, Text):
        raise cannot_hold("shouted", example)
    return {"shout": example.text}

FORMAT = Format(
    name="shouted", title="Shouts", example={"shout": "Land!"}, reads=frozenset({"shout"}), render=render,
    fields=(Field(name="shout", title="Shout", help="What was shouted.", is_required=True),),
    sniff=lambda row: 1.0 if isinstance(row, dict) and "shout" in row else 0.0,
    parse=lambda row: Text(text=required_text(row, "shout")),
)
"""


def test_one_file_beside_the_others_is_a_format(tmp_path, monkeypatch):
    (tmp_path / "shouted.py").write_text(SHOUTED)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    monkeypatch.setattr(formats, "FORMATS", formats._found())
    monkeypatch.delitem(sys.modules, "models.catalog.formats.shouted")
    monkeypatch.delattr(formats, "shouted")
    assert set(formats.FORMATS) == {*FORMATS, "shouted"}
    row = {"shout": "Land!"}
    assert {name: entry.sniff(row) for name, entry in formats.FORMATS.items() if entry.sniff(row)} == {"shouted": 1.0}
    assert formats.FORMATS["shouted"].render(formats.FORMATS["shouted"].parse(row)) == row


def _near(example):
    """The example row with one value, at any depth, replaced by something else or taken away."""
    places = list(_places(example))
    return st.builds(_replaced, st.just(example), st.sampled_from(places), JSON, st.booleans())


def _places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def _replaced(example, path, value, is_removed):
    row = json.loads(json.dumps(example))
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    if is_removed:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return row
