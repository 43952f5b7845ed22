"""The law that nothing vanishes: what a row says must be found in its rendered text. Knows text only.

Some templates drop tools, calls or reasoning without a word (SmolLM2 drops tools and would train an empty turn).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.domain.errors import Code, Invalid
from models.domain.example import Turn

_THINK_MARKS = re.compile(r"</?think>")


def check_nothing_vanished(
    text: str,
    turns: Sequence[Turn],
    tools: Sequence[Mapping[str, Any]],
    trained: Mapping[int, str],
) -> None:
    """Raise Invalid with code `template` naming the first part of the row that the base's template left out.

    `text` is the whole sequence of `turns`; `trained` gives each trained turn's number its own stretch of the text.
    Reasoning of turns that are only context may be absent: some templates drop it on purpose, when served too.
    """
    for tool in tools:
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and name not in text:
            raise _vanished(f"the tool {name}", "tools", "tools_vanish")
    for number, turn in enumerate(turns):
        _check_turn(turn, text, number, last_part_only=True)
    for number, own in trained.items():
        turn = turns[number]
        _check_turn(turn, own, number, last_part_only=False)
        if turn.reasoning is not None and not _stands_in(turn.reasoning.strip(), own):
            raise _vanished("the reasoning", "reasoning", "reasoning_vanishes")


def _check_turn(turn: Turn, text: str, number: int, *, last_part_only: bool) -> None:
    parts = [part.strip() for part in _THINK_MARKS.split(turn.content)]
    for part in parts[-1:] if last_part_only else parts:
        if not _stands_in(part, text):
            what = f"the content of message {number + 1} ({turn.role})"
            raise _vanished(what, f"messages[{number}].content", "content_vanishes")
    for call in turn.tool_calls:
        if call.name not in text:
            raise _vanished(f"the call of the tool {call.name}", f"messages[{number}].tool_calls", "tools_vanish")
        for leaf in _leaves(call.arguments):
            if not _stands_in(leaf, text):
                what = f"the argument {str(leaf)[:40]} of the tool {call.name}"
                raise _vanished(what, f"messages[{number}].tool_calls", "tools_vanish")


def _leaves(value: Any) -> Iterator[Any]:
    """Keys and values inside arguments, at any depth."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            yield from each
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
        else:
            yield each


def _stands_in(value: Any, text: str) -> bool:
    """Whether the text shows the value as itself, as Python writes it, or as JSON writes it."""
    if isinstance(value, str):
        spellings = [value, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(value)[1:-1]]
    else:
        spellings = [json.dumps(value), str(value)]
    return any(spelling in text for spelling in spellings)


def _vanished(what: str, param: str, kind: str) -> Invalid:
    return Invalid(
        f"this base cannot express {what}: its chat template leaves it out. Remove it from the row, or choose a base "
        "whose template knows it.",
        code=Code.TEMPLATE,
        kind=kind,
        param=param,
    )
