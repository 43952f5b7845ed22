"""What looks like personal data is named and masked; plain numbers, dates and versions are left alone."""

import time

import pytest

from models.domain.example import EXAMPLE
from worker.data.gate.personal import Personal, personal_in
from worker.data.gate.texts import compared_text, placed_texts

NAMED = {
    Personal.EMAIL: ["Write to ada.lovelace@example.org.", "ada+x@mail.example.co.uk", "<ADA@EXAMPLE.ORG>"],
    Personal.PHONE: [
        "Call +49 30 1234567 now", "+1 (415) 555-0123", "+491701234567", "(415) 555-0123", "415-555-0123.",
        "Tel. 030 1234567", "020 7946 0958", "0171/2345678", "0049 30 1234567",
    ],
    Personal.CARD: ["4111 1111 1111 1111", "5555-5555-5555-4444", "pay with 378282246310005!", "6011000990139424"],
    Personal.SECRET_KEY: [
        "sk-proj-Ab3dEf6hIj9kLm2nOp5q", "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "hf_" + "aB3" * 12,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    ],
}  # fmt: skip
PLAIN = [
    "2024-01-31 12:30:45", "31.12.2024", "01/02/2024", "version 10.15.7.1234", "192.168.100.200", "1,234,567,890",
    "3.14159265358979", "0.4111111111111111", "1234567890123456", "4222222222222", "+960397912423686",
    "4111 1111 1111 1112", "order 4915551234",
    "x = 100000000 + 200000000", "ISBN 978-3-16-148410-0", "123e4567-e89b-12d3-a456-426614174000", "01 02 03 04 05 06",
    "@app.route('/')", "logo@2x.png", "git@github.com:org/repo.git", "a @ b", "user@localhost", "2020-2021-2022",
    "sk-learn-is-a-python-library-for-all", "ghp_short", "-----BEGIN PUBLIC KEY-----", "AKIA", "1e+4915551234567",
    "call f(415) 555", "pages 100-200, 300-400", "1700000000", "16:9 1920x1080", "$4,111,111,111,111,111",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NAMED.items() for text in texts])
def test_it_is_named(kind, text):
    assert set(personal_in(text)) == {kind}


@pytest.mark.parametrize("text", PLAIN)
def test_it_is_left_alone(text):
    assert personal_in(text) == {}


def test_what_is_shown_is_masked():
    text = "ada@example.org +49 30 1234567 4111 1111 1111 1111 ghp_" + "a1B2" * 9
    assert personal_in(text) == {
        Personal.EMAIL: "a...@example.org",
        Personal.PHONE: "+49...",
        Personal.CARD: "a number of 16 digits that ends in 1111",
        Personal.SECRET_KEY: "ghp_...",
    }


@pytest.mark.parametrize(
    "piece", ["@", "a@", "sk-", "eyJaaaaaaaaaa.", "eyJ-", "+1111111111111111111111111111111a", "0", "(0", "4 ", "xox"]
)
def test_a_hostile_text_takes_time_in_proportion_to_its_length(piece):
    began = time.process_time()
    personal_in(piece * (64 * 1024 // len(piece)))
    assert time.process_time() - began < 1


def test_every_text_of_a_row_has_its_place():
    call = {"name": "look", "arguments": {"where": {"street": "Elm"}, "floors": [3, "top"]}}
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A", "reasoning": "R", "tool_calls": [call]},
    ]
    tools = [{"type": "function", "function": {"name": "look"}}]
    row = EXAMPLE.validate_python({"kind": "conversation", "turns": turns, "tools": tools})
    assert list(placed_texts(row)) == [
        ("messages[0].content", "S"), ("messages[1].content", "Q"), ("messages[2].content", "A"),
        ("messages[2].reasoning", "R"), ("messages[2].tool_calls", "Elm"), ("messages[2].tool_calls", "top"),
        ("tools", "function"), ("tools", "look"),
    ]  # fmt: skip
    assert compared_text(row) == "Q\nA\nR\nlook Elm 3 top"


def test_other_kinds_of_rows_have_texts_too():
    user, good, bad = (
        {"role": role, "content": text} for role, text in [("user", "Q"), ("assistant", "A"), ("assistant", "B")]
    )
    preference = EXAMPLE.validate_python({"kind": "preference", "prompt": [user], "chosen": [good], "rejected": [bad]})
    labelled = EXAMPLE.validate_python({"kind": "labelled", "prompt": [user], "completion": [good], "label": True})
    text = EXAMPLE.validate_python({"kind": "text", "text": "T"})
    assert [place for place, _ in placed_texts(preference)] == [
        "prompt[0].content",
        "chosen[0].content",
        "rejected[0].content",
    ]
    assert [place for place, _ in placed_texts(labelled)] == ["prompt[0].content", "completion[0].content"]
    assert list(placed_texts(text)) == [("text", "T")]
    assert [compared_text(each) for each in (preference, labelled, text)] == ["Q\nA\nB", "Q\nA", "T"]
