"""What simple formats can hold of an example: question and answer in turns, and perhaps a system text."""

from models.domain.errors import Code, Invalid
from models.domain.example import Conversation, Example, Labelled, Preference, Role, Text, Turn


def plain_turns(example: Example, format_name: str) -> tuple[str | None, tuple[Turn, ...]]:
    """The system text and the user and assistant turns in strict alternation, for formats that hold no more.

    Raises Invalid for anything else (tools, names, reasoning, weights, an unanswered question, a text).
    """
    if not isinstance(example, Conversation):
        raise cannot_hold(format_name, example)
    system, turns = split_system(example.turns)
    roles = [turn.role for turn in turns]
    if not turns or len(turns) % 2 or roles != [Role.USER, Role.ASSISTANT] * (len(turns) // 2):
        raise cannot_hold(format_name, "turns that are not question, answer, question, answer")
    for turn in turns:
        if not is_plain(turn):
            raise cannot_hold(format_name, "tool calls, names, reasoning or weights")
    if example.tools:
        raise cannot_hold(format_name, "tools")
    return system, turns


def is_plain(turn: Turn) -> bool:
    """Nothing but a role and a text."""
    return turn == Turn(role=turn.role, content=turn.content)


def split_system(turns: tuple[Turn, ...]) -> tuple[str | None, tuple[Turn, ...]]:
    """The leading system text, if any, and the turns after it."""
    if turns and turns[0].role is Role.SYSTEM:
        return turns[0].content, turns[1:]
    return None, turns


def cannot_hold(format_name: str, what: Example | str) -> Invalid:
    """For `render`: what the format has no place for, and the format that has one."""
    match what:
        case Text():
            words, other = "a plain text", "text"
        case Conversation():
            words, other = "a conversation", "messages"
        case Preference():
            words, other = "two answers to compare", "preference"
        case Labelled():
            words, other = "an answer with a label", "kto"
        case str():
            words, other = what, "messages"
    return Invalid(f"the format {format_name} cannot hold {words}; choose the format {other}.", code=Code.INVALID_FILE)
