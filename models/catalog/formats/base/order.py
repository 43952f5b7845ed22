"""Which turn may follow which, and that something is there to learn from. Knows no spelling."""

from collections.abc import Sequence

from models.catalog.formats.base.contract import Problem
from models.catalog.formats.base.refusal import refused
from models.domain.errors import Invalid
from models.domain.example import Role, Turn

_BEGINNING = Turn(role=Role.SYSTEM, content="")
_USUAL = (Role.USER, Role.ASSISTANT) * 64


def check_order(turns: Sequence[Turn], fields: Sequence[str] | str, after: Turn | None = None) -> None:
    """System first; then question and answer in turns; a tool's result only after the call for it.

    `fields` names each turn, or the list they stand in; `after` is the turn before them. Raises Invalid naming one.
    """
    if after is None:  # most rows by far; the loop costs three times as much
        begin = 1 if turns and turns[0].role is Role.SYSTEM else 0
        if tuple([turn.role for turn in turns[begin:]]) == _USUAL[: len(turns) - begin]:
            return
    previous = after or _BEGINNING
    for number, turn in enumerate(turns):
        found = _fault(previous, turn)
        if found:
            raise refused(
                Problem.ROLE_ORDER,
                field=f"{fields}[{number}].role" if isinstance(fields, str) else fields[number],
                found=found,
                needed="system first, then user and assistant in turns, tool results right after their calls",
            )
        previous = turn


def check_answered(turns: Sequence[Turn], field: str) -> None:
    """At least one answer of the assistant, and one that is to be learned. Raises Invalid."""
    for turn in turns:
        if turn.role is Role.ASSISTANT and turn.weight:
            return
    has_answer = any(turn.role is Role.ASSISTANT for turn in turns)
    raise no_answer(
        field, f"without {'an assistant message of weight 1' if has_answer else 'a message of the assistant'}"
    )


def no_answer(field: str, found: str) -> Invalid:
    needed = "at least one assistant message to learn from"
    return refused(Problem.NO_ASSISTANT_TURN, field=field, found=found, needed=needed)


def _fault(previous: Turn, turn: Turn) -> str | None:
    """What is wrong with `turn` right after `previous`, or None."""
    match turn.role:
        case Role.SYSTEM:
            return None if previous.role is Role.SYSTEM else "a system message after the talk has begun"
        case Role.USER:
            return "a second user message in a row" if previous.role is Role.USER else None
        case Role.ASSISTANT if previous.role is Role.SYSTEM:
            return "an assistant message before any question"
        case Role.ASSISTANT:
            return "a second assistant message in a row" if previous.role is Role.ASSISTANT else None
        case Role.TOOL:
            follows_call = previous.role is Role.TOOL or bool(previous.tool_calls)
            return None if follows_call else "a tool result without a tool call before it"
