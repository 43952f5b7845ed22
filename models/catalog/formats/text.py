"""Plain documents: one field `text`, every token trained. One file, one format."""

from typing import Any

from models.catalog.formats.base import Field, Format, as_object, cannot_hold, required_text
from models.domain.example import Example, Text


def sniff(row: Any) -> float:
    """Sure where `text` stands alone; less so beside columns such as an id or an address."""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return 0.0
    return 1.0 if len(row) == 1 else 0.6


def parse(row: Any) -> Example:
    return Text(text=required_text(as_object(row, "", 'an object with "text"'), "text"))


def render(example: Example) -> dict[str, Any]:
    if not isinstance(example, Text):
        raise cannot_hold("text", example)
    return {"text": example.text}


FORMAT = Format(
    name="text",
    title="Plain text (text)",
    example={"text": "The heron stood in the reeds until the light was gone."},
    fields=(Field(name="text", title="Text", help="A document; every token of it is learned.", is_required=True),),
    reads=frozenset({"text"}),
    sniff=sniff,
    parse=parse,
    render=render,
)
