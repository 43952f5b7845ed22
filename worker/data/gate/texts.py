"""The texts of an example: each with its place, for people; or in one, for comparing. Knows all kinds of examples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from models.domain.example import Conversation, Example, Labelled, Preference, Role, Text, ToolCall, Turn


def placed_texts(example: Example) -> Iterator[tuple[str, str]]:
    """Every text with its place in the row: ("messages[1].content", "...")."""
    for place, turns in _parts(example):
        for number, turn in enumerate(turns):
            yield f"{place}[{number}].content", turn.content
            if turn.reasoning:
                yield f"{place}[{number}].reasoning", turn.reasoning
            for call in turn.tool_calls:
                for text in _texts_in(call.arguments):
                    yield f"{place}[{number}].tool_calls", text
    if isinstance(example, Text):
        yield "text", example.text
    elif example.tools:
        for text in _texts_in(example.tools):
            yield "tools", text


def compared_text(example: Example) -> str:
    """What makes the row itself. Not its system messages nor its tools, which many rows share that differ."""
    if isinstance(example, Text):
        return example.text
    said: list[str] = []
    for _, turns in _parts(example):
        for turn in turns:
            if turn.role is not Role.SYSTEM:
                said.append(turn.content)
                if turn.reasoning:
                    said.append(turn.reasoning)
                said += [_call_text(call) for call in turn.tool_calls]
    return "\n".join(said)


def answers_of(example: Example) -> Iterator[str]:
    """What the assistant says in a conversation, answer by answer; other kinds have none to look at."""
    if isinstance(example, Conversation):
        yield from (turn.content for turn in example.turns if turn.role is Role.ASSISTANT and not turn.tool_calls)


def _parts(example: Example) -> tuple[tuple[str, Sequence[Turn]], ...]:
    match example:
        case Conversation():
            return (("messages", example.turns),)
        case Text():
            return ()
        case Preference():
            return (("prompt", example.prompt), ("chosen", example.chosen), ("rejected", example.rejected))
        case Labelled():
            return (("prompt", example.prompt), ("completion", example.completion))
        case _:
            assert_never(example)


def _call_text(call: ToolCall) -> str:
    return " ".join((call.name, *map(str, _leaves(call.arguments))))


def _texts_in(value: Any) -> Iterator[str]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, str))


def _leaves(value: Any) -> Iterator[Any]:
    """Values in lists and objects, at any depth, in order."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting += reversed(list(each.values()))
        elif isinstance(each, list | tuple):
            waiting += reversed(each)
        else:
            yield each
