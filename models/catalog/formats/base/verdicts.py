"""Answers that are compared or judged: two of which one is better, or one with a label. Knows no spelling of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.catalog.formats.base.contract import Field, Problem
from models.catalog.formats.base.order import check_order
from models.catalog.formats.base.plain import is_plain
from models.catalog.formats.base.refusal import refused, required_text, shown
from models.catalog.formats.base.turns import spoken_turns
from models.catalog.formats.base.writing import messages_of
from models.domain.errors import Invalid
from models.domain.example import Preference, Role, Turn

Turns = tuple[Turn, ...]
Side = tuple[Turns, tuple[str, ...]]  # turns, and the field of each
_VERDICTS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_ASKED = Turn(role=Role.USER, content="")

CHOSEN = Field(name="chosen", title="Chosen", help="The better answer.", is_required=True)
REJECTED = Field(name="rejected", title="Rejected", help="The worse answer.", is_required=True)
TOOLS = Field(name="tools", title="Tools", help="The tools that the assistant may call, as a JSON list.", is_text=False)


def side_of(row: Mapping[str, Any], key: str, role: Role) -> Side:
    """A prompt or an answer: a text of that role, one turn, or a list of turns."""
    value = row.get(key)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return (Turn(role=role, content=required_text(row, key)),), (key,)
    if not value:
        raise refused(Problem.EMPTY_FIELD, field=key, found="empty", needed="a text, or a list of messages")
    return spoken_turns(value, key)


def check_asked(prompt: Turns, fields: Sequence[str]) -> None:
    """A prompt in order that waits for an answer. Raises Invalid."""
    check_order(prompt, fields)
    if prompt and prompt[-1].role not in (Role.USER, Role.TOOL):
        raise _misplaced(fields[-1], "the end of the prompt, and not a question", "a prompt that ends with a question")


def check_continues(prompt: Turns, answer: Turns, fields: Sequence[str]) -> None:
    """An answer that goes on where the prompt ends. Raises Invalid."""
    if answer[0].role is not Role.ASSISTANT:
        raise _misplaced(fields[0], f"a turn of the {answer[0].role}", "an answer of the assistant after the prompt")
    check_order(answer, fields, after=prompt[-1] if prompt else _ASKED)


def preference_of(
    prompt: Side,
    chosen: Side,
    rejected: Side,
    tools: tuple[dict[str, Any], ...] = (),
    *,
    names: tuple[str, str] = ("chosen", "rejected"),
) -> Preference:
    """The example, once prompt and answers stand in order and the answers differ. `names` are the answers' fields."""
    check_asked(*prompt)
    check_continues(prompt[0], *chosen)
    check_continues(prompt[0], *rejected)
    if chosen[0] == rejected[0]:
        raise same_answers(*names)
    return Preference(prompt=prompt[0], chosen=chosen[0], rejected=rejected[0], tools=tools)


def same_answers(chosen: str, rejected: str) -> Invalid:
    return refused(
        Problem.SAME_ANSWERS, field=rejected, found=f'the same as "{chosen}"', needed="two answers that differ"
    )


def verdict_of(row: Mapping[str, Any], key: str) -> bool:
    """Whether somebody found the answer good: true or false, 1 or 0, also as text."""
    value = row.get(key)
    needed = "true or false"
    if value is None:
        raise refused(Problem.MISSING_FIELD, field=key, found="missing", needed=needed)
    if isinstance(value, str) and value.strip().lower() in _VERDICTS:
        return _VERDICTS[value.strip().lower()]
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise refused(Problem.WRONG_TYPE, field=key, found=shown(value), needed=needed)


def is_verdict(value: Any) -> bool:
    """Whether `verdict_of` reads it."""
    if isinstance(value, str):
        return value.strip().lower() in _VERDICTS
    return isinstance(value, bool | int | float) and value in (0, 1)


def side_row(turns: Turns, role: Role) -> Any:
    """What `side_of` reads as these turns: a text where that is enough, else messages."""
    if len(turns) == 1 and turns[0].role is role and is_plain(turns[0]):
        return turns[0].content
    return messages_of(turns)


def _misplaced(field: str, found: str, needed: str) -> Invalid:
    return refused(Problem.ROLE_ORDER, field=field, found=found, needed=needed)
