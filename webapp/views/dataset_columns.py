"""Where columns are pointed to the fields of a format: the frame, and what `columns.js` needs to know. Pure."""

from typing import Any

from markupsafe import Markup

from models.catalog.formats import FORMATS
from models.catalog.formats.base import Format
from models.domain.reading import Reading
from webapp.views.dataset_words import format_title
from webapp.views.markup import render


def columns_part(dataset_id: str, shown: Any, *, newest: int, is_asked: bool) -> Markup:
    """`is_asked`: somebody opened it; else it stands there because nothing could be read without it."""
    version, reading = shown.version, Reading.model_validate(shown.version.reading or {})
    return render(
        "dataset_columns.html",
        file_id=version.id,
        dataset_id=dataset_id,
        title="It is something else" if version.usable_rows else "Which column is what?",
        sentence=(
            "Say what the rows are and which column holds what. Below you see what the first three rows become."
            if version.usable_rows
            else "No row of this file could be used as it stands. Say what the rows are and which column holds what."
        ),
        outcome=(
            f"Becomes version {newest + 1}; this version stays as it is."
            if version.usable_rows
            else "The rows are checked anew."
        ),
        may_close=is_asked,
        facts={
            "format": reading.format or version.format,
            "mapping": reading.mapping,
            "formats": [_format(each) for each in FORMATS.values()],
        },
    )  # fmt: skip


def _format(entry: Format) -> dict[str, Any]:
    fields = [
        {"name": field.name, "title": field.title, "help": field.help, "is_required": field.is_required}
        for field in entry.fields
    ]
    return {"name": entry.name, "title": format_title(entry.name), "fields": fields}
