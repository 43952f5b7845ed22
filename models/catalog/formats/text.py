"""Plain documents: one field `text`, every token trained. One file, one format."""

from typing import Any

from models.catalog.formats.base import Format, as_object, required_text
from models.domain.errors import Code, Invalid
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
        raise Invalid("the format text cannot hold a conversation; choose the format messages.", code=Code.INVALID_FILE)
    return {"text": example.text}


FORMAT = Format(
    name="text",
    title="Plain text (text)",
    extensions=(".jsonl", ".json"),
    example={"text": "The heron stood in the reeds until the light was gone."},
    sniff=sniff,
    parse=parse,
    render=render,
)
