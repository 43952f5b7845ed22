"""One answer with a label, as TRL writes it for KTO: prompt, completion, label. One file, one format.

Prompt and completion are texts or lists of messages.
"""

from typing import Any

from models.catalog.formats.base import (
    TOOLS,
    Field,
    Format,
    as_object,
    cannot_hold,
    check_asked,
    check_continues,
    is_verdict,
    side_of,
    side_row,
    tools_of,
    verdict_of,
)
from models.domain.example import Example, Labelled, Role


def sniff(row: Any) -> float:
    """A label that is no yes or no is no label of an answer."""
    if not isinstance(row, dict) or not all(key in row for key in ("prompt", "completion", "label")):
        return 0.0
    return 1.0 if is_verdict(row["label"]) else 0.3


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "prompt", "completion" and "label"')
    prompt, asked = side_of(fields, "prompt", Role.USER)
    completion, answered = side_of(fields, "completion", Role.ASSISTANT)
    check_asked(prompt, asked)
    check_continues(prompt, completion, answered)
    return Labelled(prompt=prompt, completion=completion, label=verdict_of(fields, "label"), tools=tools_of(fields))


def render(example: Example) -> dict[str, Any]:
    if not isinstance(example, Labelled):
        raise cannot_hold("kto", example)
    row: dict[str, Any] = {
        "prompt": side_row(example.prompt, Role.USER),
        "completion": side_row(example.completion, Role.ASSISTANT),
        "label": example.label,
    }
    if example.tools:
        row["tools"] = list(example.tools)
    return row


FORMAT = Format(
    name="kto",
    title="Labelled answers (prompt, completion, label)",
    example={"prompt": "Which bird stands in the reeds?", "completion": "The heron.", "label": True},
    fields=(
        Field(name="prompt", title="Prompt", help="The question: a text, or a list of messages.", is_required=True),
        Field(name="completion", title="Completion", help="The answer that was judged.", is_required=True),
        Field(
            name="label",
            title="Label",
            help="Whether the answer is good: true or false, 1 or 0.",
            is_required=True,
            is_text=False,
        ),
        TOOLS,
    ),
    reads=frozenset({"prompt", "completion", "label", "tools"}),
    judges=frozenset({"label"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
