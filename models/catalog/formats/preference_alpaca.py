"""Two answers to compare, to an alpaca question (LLaMA-Factory with `ranking`). One file, one format."""

from collections.abc import Mapping
from typing import Any

from models.catalog.formats.base import (
    ASKED_FIELDS,
    CHOSEN,
    REJECTED,
    Format,
    Side,
    as_object,
    asked_row,
    asked_turns,
    cannot_hold,
    plain_turns,
    preference_of,
    required_text,
)
from models.domain.example import Conversation, Example, Preference, Role, Turn

_ANSWERS = ("chosen", "rejected")


def sniff(row: Any) -> float:
    if not isinstance(row, dict) or not all(key in row for key in ("instruction", *_ANSWERS)):
        return 0.0
    is_text = all(isinstance(row[key], str) for key in ("instruction", *_ANSWERS))
    return 1.0 if is_text and "prompt" not in row else 0.5


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "instruction", "chosen" and "rejected"')
    asked = tuple(asked_turns(fields))
    return preference_of((asked, ("instruction",) * len(asked)), _answer(fields, "chosen"), _answer(fields, "rejected"))


def render(example: Example) -> dict[str, Any]:
    """Raises Invalid where alpaca has no word for a part."""
    if not isinstance(example, Preference):
        raise cannot_hold("preference_alpaca", example)
    answers: dict[str, str] = {}
    system, asked = None, example.prompt
    for key, answer in zip(_ANSWERS, (example.chosen, example.rejected), strict=True):
        whole = Conversation(turns=(*example.prompt, *answer), tools=example.tools)
        system, turns = plain_turns(whole, "preference_alpaca")
        if len(answer) != 1:
            raise cannot_hold("preference_alpaca", "answers of several turns")
        asked, answers[key] = turns[:-1], turns[-1].content
    return {**asked_row(asked, system), **answers}


def _answer(fields: Mapping[str, Any], key: str) -> Side:
    return (Turn(role=Role.ASSISTANT, content=required_text(fields, key)),), (key,)


FORMAT = Format(
    name="preference_alpaca",
    title="Preference pairs, Alpaca (instruction, chosen, rejected)",
    example={
        "instruction": "Rewrite this sentence in plain words.",
        "input": "Kindly revert back to us.",
        "chosen": "Please answer us.",
        "rejected": "Kindly revert.",
    },
    fields=(*ASKED_FIELDS[:2], CHOSEN, REJECTED, *ASKED_FIELDS[2:]),
    reads=frozenset({"instruction", "input", "system", "history", *_ANSWERS}),
    sniff=sniff,
    parse=parse,
    render=render,
)
