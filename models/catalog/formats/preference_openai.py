"""Two answers to compare, as OpenAI writes them: input, preferred_completion, non_preferred_completion.

`input` is an object with `messages` and perhaps `tools`. One file, one format.
"""

from typing import Any

from models.catalog.formats.base import (
    Field,
    Format,
    Problem,
    as_list,
    as_object,
    cannot_hold,
    json_value,
    messages_of,
    preference_of,
    refused,
    shown,
    side_of,
    spoken_turns,
    tools_of,
)
from models.domain.example import Example, Preference, Role

_ANSWERS = ("preferred_completion", "non_preferred_completion")


def sniff(row: Any) -> float:
    if not isinstance(row, dict) or "input" not in row or not all(key in row for key in _ANSWERS):
        return 0.0
    is_whole = isinstance(row["input"], dict) and all(isinstance(row[key], list) for key in _ANSWERS)
    return 1.0 if is_whole else 0.8


def parse(row: Any) -> Example:
    fields = as_object(row, "", f'an object with "input", "{_ANSWERS[0]}" and "{_ANSWERS[1]}"')
    asked = fields.get("input")
    if asked is None:
        raise refused(Problem.MISSING_FIELD, field="input", found="missing", needed='an object with "messages"')
    if isinstance(asked, str):
        try:
            asked = json_value(asked)
        except ValueError:
            needed = 'an object with "messages", or its JSON text'
            raise refused(Problem.WRONG_TYPE, field="input", found=shown(asked), needed=needed) from None
    asked = as_object(asked, "input", 'an object with "messages"')
    messages = as_list(asked.get("messages"), "input.messages", "a list of messages")
    if not messages:
        raise refused(Problem.EMPTY_FIELD, field="input.messages", found="empty", needed="a question")
    better, worse = (side_of(fields, each, Role.ASSISTANT) for each in _ANSWERS)
    return preference_of(spoken_turns(messages, "input.messages"), better, worse, tools_of(asked), names=_ANSWERS)


def render(example: Example) -> dict[str, Any]:
    if not isinstance(example, Preference):
        raise cannot_hold("preference_openai", example)
    if not example.prompt:
        raise cannot_hold("preference_openai", "answers without a prompt")
    asked: dict[str, Any] = {"messages": messages_of(example.prompt)}
    if example.tools:
        asked["tools"] = list(example.tools)
    return {"input": asked, _ANSWERS[0]: messages_of(example.chosen), _ANSWERS[1]: messages_of(example.rejected)}


FORMAT = Format(
    name="preference_openai",
    title="Preference pairs, OpenAI (input, preferred, non-preferred)",
    example={
        "input": {"messages": [{"role": "user", "content": "Which bird stands in the reeds?"}]},
        "preferred_completion": [{"role": "assistant", "content": "The heron."}],
        "non_preferred_completion": [{"role": "assistant", "content": "A bird, most probably."}],
    },
    fields=(
        Field(
            name="input",
            title="Input",
            help="An object with messages and perhaps tools; in a table, its JSON text.",
            is_required=True,
            is_text=False,
        ),
        Field(name=_ANSWERS[0], title="Preferred", help="The better answer, as messages.", is_required=True),
        Field(name=_ANSWERS[1], title="Non-preferred", help="The worse answer, as messages.", is_required=True),
    ),
    reads=frozenset({"input", *_ANSWERS}),
    sniff=sniff,
    parse=parse,
    render=render,
)
