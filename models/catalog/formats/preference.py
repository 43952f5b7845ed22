"""Two answers to compare, as TRL writes them: prompt, chosen, rejected. One file, one format.

Each is a text or a list of messages. Without a prompt, it is what the two talks have in common; transcripts of the
kind "Human: ... Assistant: ..." are talks, too. A prompt that both talks repeat is not taken twice.
"""

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from models.catalog.formats.base import (
    CHOSEN,
    REJECTED,
    TOOLS,
    Field,
    Format,
    Problem,
    Side,
    Turns,
    as_object,
    cannot_hold,
    preference_of,
    refused,
    same_answers,
    side_of,
    side_row,
    tools_of,
)
from models.domain.example import Example, Preference, Role, Turn

_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_SPEAKERS = {"Human": Role.USER, "Assistant": Role.ASSISTANT}


def sniff(row: Any) -> float:
    """Less surely where the question stands in fields of other spellings."""
    if not isinstance(row, dict) or "chosen" not in row or "rejected" not in row:
        return 0.0
    if "prompt" not in row and any(key in row for key in ("instruction", "conversations", "messages")):
        return 0.4
    return 1.0 if all(isinstance(row[key], str | list | dict) for key in ("chosen", "rejected")) else 0.4


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "chosen" and "rejected"')
    chosen, rejected = _side(fields, "chosen"), _side(fields, "rejected")
    prompt = side_of(fields, "prompt", Role.USER) if fields.get("prompt") is not None else ((), ())
    if chosen[0][0].role is not Role.ASSISTANT and rejected[0][0].role is not Role.ASSISTANT:
        common = [
            pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], zip(chosen[0], rejected[0], strict=False))
        ]
        count = len(common)
        _check_differ(count, chosen[0], rejected[0])
        is_repeated = all(turn in common for turn in prompt[0])
        before = ((), ()) if is_repeated else prompt
        prompt = (*before[0], *common), (*before[1], *chosen[1][:count])
        chosen, rejected = (chosen[0][count:], chosen[1][count:]), (rejected[0][count:], rejected[1][count:])
    return preference_of(prompt, chosen, rejected, tools_of(fields))


def render(example: Example) -> dict[str, Any]:
    """Texts where they are enough, else messages; the prompt is written apart wherever there is one."""
    if not isinstance(example, Preference):
        raise cannot_hold("preference", example)
    row: dict[str, Any] = {"prompt": side_row(example.prompt, Role.USER)} if example.prompt else {}
    row["chosen"], row["rejected"] = _written(example.chosen), _written(example.rejected)
    if example.tools:
        row["tools"] = list(example.tools)
    return row


def _written(answer: Turns) -> Any:
    written = side_row(answer, Role.ASSISTANT)
    is_misread = isinstance(written, str) and _transcript(written)
    return [{"role": "assistant", "content": written}] if is_misread else written


def _side(fields: Mapping[str, Any], key: str) -> Side:
    value = fields.get(key)
    turns = _transcript(value) if isinstance(value, str) else ()
    if not turns:
        return side_of(fields, key, Role.ASSISTANT)
    for turn in turns:
        if not turn.content:
            needed = "a text after each Human: and Assistant:"
            raise refused(
                Problem.EMPTY_FIELD, field=key, found=f"a talk with an empty turn of the {turn.role}", needed=needed
            )
    return turns, tuple(key for _ in turns)


def _transcript(text: str) -> Turns:
    """The turns of a text with a blank line before each "Human:" and "Assistant:"; none of any other text."""
    if not text.lstrip().startswith("Human:") or "\n\nAssistant:" not in text:
        return ()
    _, *parts = _SPEAKER.split(text.strip())
    return tuple(
        Turn(role=_SPEAKERS[speaker], content=said.strip())
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    )


def _check_differ(count: int, chosen: Turns, rejected: Turns) -> None:
    if chosen == rejected:
        raise same_answers("chosen", "rejected")
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if count == len(turns):
            found = "only the beginning of the other talk"
            raise refused(Problem.EMPTY_FIELD, field=name, found=found, needed="an answer of its own")


FORMAT = Format(
    name="preference",
    title="Preference pairs (prompt, chosen, rejected)",
    example={
        "prompt": "Which bird stands in the reeds?",
        "chosen": "The heron.",
        "rejected": "A bird, most probably.",
    },
    fields=(
        Field(name="prompt", title="Prompt", help="The question; without it, what both answers begin with."),
        CHOSEN,
        REJECTED,
        TOOLS,
    ),
    reads=frozenset({"prompt", "chosen", "rejected", "tools"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
