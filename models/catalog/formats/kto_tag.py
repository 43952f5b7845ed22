"""One answer with a label, as LLaMA-Factory writes it: `kto_tag` beside messages, conversations or an alpaca row.

The last answer of the talk is the one that was judged. One file, one format.
"""

from collections.abc import Mapping
from typing import Any

from models.catalog.formats.base import (
    ASKED_FIELDS,
    TOOLS,
    Field,
    Format,
    Problem,
    as_list,
    as_object,
    asked_turns,
    cannot_hold,
    check_answered,
    check_order,
    is_verdict,
    messages_of,
    no_answer,
    optional_text,
    refused,
    required_text,
    spoken_turns,
    tools_of,
    verdict_of,
)
from models.domain.example import Example, Labelled, Role, Turn

_KEYS = ("messages", "conversations")
_TALK = "A list of turns that ends with the judged answer; in a table, its JSON text."


def sniff(row: Any) -> float:
    if not isinstance(row, dict) or "kto_tag" not in row:
        return 0.0
    has_talk = any(isinstance(row.get(key), list | str) for key in _KEYS) or ("instruction" in row and "output" in row)
    return 1.0 if has_talk and is_verdict(row["kto_tag"]) else 0.6


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "messages" and "kto_tag"')
    key = next((each for each in _KEYS if fields.get(each) is not None), None)
    if key is None and "instruction" not in fields:
        raise refused(Problem.MISSING_FIELD, field="messages", found="missing", needed="a list of messages")
    turns = _talk(fields, key) if key else _alpaca(fields)
    label = verdict_of(fields, "kto_tag")
    return Labelled(prompt=turns[:-1], completion=turns[-1:], label=label, tools=tools_of(fields))


def render(example: Example) -> dict[str, Any]:
    if not isinstance(example, Labelled):
        raise cannot_hold("kto_tag", example)
    if len(example.completion) != 1:
        raise cannot_hold("kto_tag", "a judged answer of several turns")
    row: dict[str, Any] = {"messages": messages_of((*example.prompt, *example.completion)), "kto_tag": example.label}
    if example.tools:
        row["tools"] = list(example.tools)
    return row


def _talk(fields: Mapping[str, Any], key: str) -> tuple[Turn, ...]:
    listed = as_list(fields[key], key, "a list of messages")
    if not listed:
        raise refused(Problem.EMPTY_FIELD, field=key, found="empty", needed="a question and an answer")
    turns, places = spoken_turns(listed, key)
    check_answered(turns, key)
    system = optional_text(fields, "system")
    if system is not None and turns[0] != Turn(role=Role.SYSTEM, content=system):
        turns, places = (Turn(role=Role.SYSTEM, content=system), *turns), ("system", *places)
    check_order(turns, places)
    if turns[-1].role is not Role.ASSISTANT:
        raise no_answer(key, f"a talk that ends with a turn of the {turns[-1].role}")
    return turns


def _alpaca(fields: Mapping[str, Any]) -> tuple[Turn, ...]:
    return (*asked_turns(fields), Turn(role=Role.ASSISTANT, content=required_text(fields, "output")))


FORMAT = Format(
    name="kto_tag",
    title="Labelled answers, LLaMA-Factory (kto_tag)",
    example={
        "messages": [
            {"role": "user", "content": "Which bird stands in the reeds?"},
            {"role": "assistant", "content": "The heron."},
        ],
        "kto_tag": True,
    },
    fields=(
        Field(
            name="kto_tag",
            title="Label",
            help="Whether the answer is good: true or false, 1 or 0.",
            is_required=True,
            is_text=False,
        ),
        Field(name="messages", title="Messages", help=_TALK, is_text=False),
        Field(name="conversations", title="Conversations", help=f"Instead of messages: {_TALK}", is_text=False),
        Field(name="instruction", title="Instruction", help="Instead of messages: what the model is asked to do."),
        Field(name="output", title="Output", help="With an instruction: the answer that was judged."),
        *(field for field in ASKED_FIELDS if field.name != "instruction"),
        TOOLS,
    ),
    reads=frozenset({*_KEYS, "kto_tag", "instruction", "input", "output", "system", "history", "tools"}),
    judges=frozenset({"kto_tag"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
