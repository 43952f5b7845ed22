"""Prompt and completion, as texts or as lists of messages (TRL). One file, one format.

Texts are one question and one answer. Of lists, only the completion is trained: an earlier answer that stands in the
prompt gets weight 0.
"""

from typing import Any

from models.catalog.formats.base import (
    TOOLS,
    Field,
    Format,
    as_object,
    cannot_hold,
    check_answered,
    check_order,
    is_plain,
    messages_of,
    required_text,
    side_of,
    tools_of,
)
from models.domain.example import Conversation, Example, Role, Turn


def sniff(row: Any) -> float:
    """Less surely beside a label, which may be a verdict on the completion."""
    if not isinstance(row, dict) or "prompt" not in row or "completion" not in row:
        return 0.0
    prompt, completion = row["prompt"], row["completion"]
    if not isinstance(prompt, str | list) or not isinstance(completion, str | list):
        return 0.4
    return 0.5 if "label" in row else 1.0


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "prompt" and "completion"')
    if not isinstance(fields.get("prompt"), list) and not isinstance(fields.get("completion"), list):
        question = Turn(role=Role.USER, content=required_text(fields, "prompt"))
        answer = Turn(role=Role.ASSISTANT, content=required_text(fields, "completion"))
        turns = (question, answer)
    else:
        prompt, asked = side_of(fields, "prompt", Role.USER)
        completion, answered = side_of(fields, "completion", Role.ASSISTANT)
        turns = (*(_untrained(turn) for turn in prompt), *completion)
        check_order(turns, asked + answered)
        check_answered(completion, "completion")
    return Conversation(turns=turns, tools=tools_of(fields)) if "tools" in fields else Conversation(turns=turns)


def render(example: Example) -> dict[str, Any]:
    """Texts where they are enough. Raises Invalid where untrained and trained answers take turns."""
    if not isinstance(example, Conversation):
        raise cannot_hold("prompt_completion", example)
    turns = example.turns
    first = next(place for place, turn in enumerate(turns) if turn.role is Role.ASSISTANT and turn.weight)
    prompt, completion = turns[:first], turns[first:]
    if any(turn.role is Role.ASSISTANT and not turn.weight for turn in completion):
        raise cannot_hold("prompt_completion", "an answer that is not trained after one that is")
    row: dict[str, Any] = {}
    if [turn.role for turn in turns] == [Role.USER, Role.ASSISTANT] and all(map(is_plain, turns)):
        row = {"prompt": turns[0].content, "completion": turns[1].content}
    else:
        trained = [turn.model_copy(update={"weight": 1}) for turn in prompt]
        row = {"prompt": messages_of(trained), "completion": messages_of(completion)}
    if example.tools:
        row["tools"] = list(example.tools)
    return row


def _untrained(turn: Turn) -> Turn:
    return turn.model_copy(update={"weight": 0}) if turn.role is Role.ASSISTANT else turn


FORMAT = Format(
    name="prompt_completion",
    title="Prompt and completion",
    example={"prompt": "Which bird stands in the reeds?", "completion": "The heron."},
    fields=(
        Field(name="prompt", title="Prompt", help="The question: a text, or a list of messages.", is_required=True),
        Field(name="completion", title="Completion", help="The answer to learn.", is_required=True),
        TOOLS,
    ),
    reads=frozenset({"prompt", "completion", "tools"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
