"""A question as alpaca rows spell it: instruction, input, system, history. Knows no answer."""

from collections.abc import Mapping
from typing import Any

from models.catalog.formats.base.contract import Field, Problem
from models.catalog.formats.base.refusal import as_list, optional_text, refused, required_text, shown
from models.domain.example import Role, Turn

ASKED_FIELDS = (
    Field(name="instruction", title="Instruction", help="What the model is asked to do.", is_required=True),
    Field(name="input", title="Input", help="What it is to be done with; stands on the line after."),
    Field(name="system", title="System", help="The system prompt of this row."),
    Field(name="history", title="History", help="Earlier questions and answers, as a list of pairs.", is_text=False),
)


def asked_turns(fields: Mapping[str, Any]) -> list[Turn]:
    """System text if any, history, and the question: the instruction and, on the next line, the input."""
    question = required_text(fields, "instruction")
    addition = optional_text(fields, "input")
    if addition is not None:
        question = f"{question}\n{addition}"
    system = optional_text(fields, "system")
    turns = [] if system is None else [Turn(role=Role.SYSTEM, content=system)]
    if fields.get("history"):
        turns += _history(fields["history"])
    turns.append(Turn(role=Role.USER, content=question))
    return turns


def asked_row(turns: tuple[Turn, ...], system: str | None) -> dict[str, Any]:
    """The fields of a question that `plain_turns` has seen; the whole question goes into `instruction`."""
    row: dict[str, Any] = {"instruction": turns[-1].content, "input": ""}
    if system is not None:
        row["system"] = system
    if len(turns) > 1:
        row["history"] = [[turns[i].content, turns[i + 1].content] for i in range(0, len(turns) - 1, 2)]
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
