"""Alpaca rows: instruction, output; optional input, system, history (pairs). One file, one format.

The question is the instruction and, on the next line, the input. `history` lists earlier [question, answer] pairs.
"""

from typing import Any

from models.catalog.formats.base import (
    Field,
    Format,
    Problem,
    as_list,
    as_object,
    optional_text,
    plain_turns,
    refused,
    required_text,
    shown,
)
from models.domain.example import Conversation, Example, Role, Turn


def sniff(row: Any) -> float:
    """Less surely beside a verdict on the answer, which is another format's."""
    if not isinstance(row, dict) or "instruction" not in row or "output" not in row:
        return 0.0
    is_text = isinstance(row["instruction"], str) and isinstance(row["output"], str)
    return 1.0 if is_text and "kto_tag" not in row else 0.5


def parse(row: Any) -> Example:
    """A conversation of system?, history, question, answer."""
    fields = as_object(row, "", 'an object with "instruction" and "output"')
    instruction = required_text(fields, "instruction")
    addition = optional_text(fields, "input")
    answer = required_text(fields, "output")
    system = optional_text(fields, "system")
    turns = [Turn(role=Role.SYSTEM, content=system)] if system is not None else []
    if fields.get("history"):
        turns += _history(fields["history"])
    question = instruction if addition is None else f"{instruction}\n{addition}"
    turns += [Turn(role=Role.USER, content=question), Turn(role=Role.ASSISTANT, content=answer)]
    return Conversation(turns=tuple(turns))


def render(example: Example) -> dict[str, Any]:
    """The whole question goes into `instruction`. Raises Invalid where alpaca has no word for a part."""
    system, turns = plain_turns(example, "alpaca")
    question, answer = turns[-2:]
    row: dict[str, Any] = {"instruction": question.content, "input": "", "output": answer.content}
    if system is not None:
        row["system"] = system
    earlier = turns[:-2]
    if earlier:
        row["history"] = [[earlier[i].content, earlier[i + 1].content] for i in range(0, len(earlier), 2)]
    return row


def _history(value: Any) -> list[Turn]:
    turns: list[Turn] = []
    for number, pair in enumerate(as_list(value, "history", "a list of pairs")):
        field = f"history[{number}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise refused(Problem.WRONG_TYPE, field=field, found=shown(pair), needed="a pair [question, answer]")
        both = {"0": pair[0], "1": pair[1]}
        turns.append(Turn(role=Role.USER, content=required_text(both, "0", field=f"{field}[0]")))
        turns.append(Turn(role=Role.ASSISTANT, content=required_text(both, "1", field=f"{field}[1]")))
    return turns


FORMAT = Format(
    name="alpaca",
    title="Alpaca (instruction, input, output)",
    example={
        "instruction": "Rewrite this sentence in plain words.",
        "input": "Kindly revert back to us.",
        "output": "Please answer us.",
    },
    fields=(
        Field(name="instruction", title="Instruction", help="What the model is asked to do.", is_required=True),
        Field(name="input", title="Input", help="What it is to be done with; stands on the line after."),
        Field(name="output", title="Output", help="The answer to learn.", is_required=True),
        Field(name="system", title="System", help="The system prompt of this row."),
        Field(
            name="history",
            title="History",
            help="Earlier questions and answers, as a list of pairs; trained as well.",
            is_text=False,
        ),
    ),
    reads=frozenset({"instruction", "input", "output", "system", "history"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
