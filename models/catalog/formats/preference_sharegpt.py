"""Two answers to compare, to a ShareGPT conversation (LLaMA-Factory with `ranking`). One file, one format.

`conversations` end with a question; `chosen` and `rejected` are one turn each. Turns of {role, content} are read, too.
"""

from typing import Any

from models.catalog.formats.base import (
    CHOSEN,
    REJECTED,
    TOOLS,
    Field,
    Format,
    Problem,
    as_list,
    as_object,
    cannot_hold,
    messages_of,
    optional_text,
    preference_of,
    refused,
    side_of,
    spoken_turns,
    tools_of,
)
from models.domain.example import Example, Preference, Role, Turn

_KEYS = ("conversations", "messages")


def sniff(row: Any) -> float:
    if not isinstance(row, dict) or "chosen" not in row or "rejected" not in row:
        return 0.0
    if isinstance(row.get("conversations"), list):
        return 1.0
    if isinstance(row.get("messages"), list):  # beside a prompt they repeat the chosen talk
        return 0.5 if "prompt" in row else 1.0
    return 0.0


def parse(row: Any) -> Example:
    fields = as_object(row, "", 'an object with "conversations", "chosen" and "rejected"')
    key = next((each for each in _KEYS if fields.get(each) is not None), "conversations")
    if fields.get(key) is None:
        raise refused(Problem.MISSING_FIELD, field=key, found="missing", needed="a list of turns")
    prompt, places = spoken_turns(as_list(fields[key], key, "a list of turns"), key)
    system = optional_text(fields, "system")
    if system is not None and prompt[:1] != (Turn(role=Role.SYSTEM, content=system),):
        prompt, places = (Turn(role=Role.SYSTEM, content=system), *prompt), ("system", *places)
    if not prompt:
        raise refused(Problem.EMPTY_FIELD, field=key, found="empty", needed="a conversation that ends with a question")
    chosen, rejected = (side_of(fields, each, Role.ASSISTANT) for each in ("chosen", "rejected"))
    return preference_of((prompt, places), chosen, rejected, tools_of(fields))


def render(example: Example) -> dict[str, Any]:
    """Turns are written as {role, content}, which hold more; a text where an answer is nothing else."""
    if not isinstance(example, Preference):
        raise cannot_hold("preference_sharegpt", example)
    if not example.prompt:
        raise cannot_hold("preference_sharegpt", "answers without a prompt")
    row: dict[str, Any] = {
        "conversations": messages_of(example.prompt),
        "chosen": _written(example.chosen),
        "rejected": _written(example.rejected),
    }
    if example.tools:
        row["tools"] = list(example.tools)
    return row


def _written(answer: tuple[Turn, ...]) -> Any:
    messages = messages_of(answer)
    return messages[0] if len(messages) == 1 else messages


FORMAT = Format(
    name="preference_sharegpt",
    title="Preference pairs, ShareGPT (conversations, chosen, rejected)",
    example={
        "conversations": [{"from": "human", "value": "Which bird stands in the reeds?"}],
        "chosen": {"from": "gpt", "value": "The heron."},
        "rejected": {"from": "gpt", "value": "A bird, most probably."},
    },
    fields=(
        Field(
            name="conversations",
            title="Conversations",
            help="A list of turns that ends with a question; in a table, its JSON text.",
            is_required=True,
            is_text=False,
        ),
        CHOSEN,
        REJECTED,
        Field(name="system", title="System", help="The system prompt of this row."),
        TOOLS,
    ),
    reads=frozenset({*_KEYS, "chosen", "rejected", "system", "tools"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
