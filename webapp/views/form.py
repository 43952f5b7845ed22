"""Gradio components for the fields of a form: one look for every field, whatever model it came from.

Makes components and wires nothing. Ranges are not given to Gradio: it would answer with a toast and drop the event,
where we say beside the field what is wrong and keep what was typed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gradio as gr
from markupsafe import Markup

from webapp.views.fields import Field, Kind, in_words, shown
from webapp.views.markup import render


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One field on the page: where a person types, what stands below, and the button back to the default."""

    field: Field
    component: Any
    note: gr.HTML
    reset: gr.Button
    column: gr.Column


def put_groups(
    fields: Iterable[Field], *, is_hidden: Callable[[Field], bool] = lambda _: False, is_open: bool = True
) -> list[Slot]:
    """The fields under the headings of their groups. Must run inside a Blocks."""
    slots = []
    for group, members in groupby(fields, key=lambda field: field.group):
        gr.HTML(render("train_group.html", title=str(group)), padding=False, elem_classes="tr-flat")
        with gr.Row(elem_classes="tr-fields", equal_height=False):
            slots += [put(field, is_visible=not is_hidden(field), is_open=is_open) for field in members]
    return slots


def put(field: Field, *, is_visible: bool = True, is_open: bool = True) -> Slot:
    """One field with its note and its reset. `is_open` False: nobody can type until a handler says so."""
    classes = ["tr-field", f"tr-field-{field.kind.name.lower()}"]
    with gr.Column(elem_classes=classes, min_width=160, elem_id=anchor(field), visible=is_visible) as column:
        component = _component(field, is_open=is_open)
        note = gr.HTML(note_of(field, field.default), padding=False, elem_classes="tr-flat")
        reset = gr.Button("Reset", size="sm", variant="secondary", elem_classes="tr-reset")
    return Slot(field=field, component=component, note=note, reset=reset, column=column)


def note_of(field: Field, default: Any, *, changed_from: str | None = None, problem: str | None = None) -> Markup:
    """What stands below a field: its default, or that it differs from which preset, or what is wrong; and its help."""
    return render(
        "train_field.html", title=field.title, help=field.help, default=in_words(field, default),
        changed_from=changed_from, problem=problem,
    )  # fmt: skip


def anchor(field: Field) -> str:
    """The field's id in the page."""
    return "field-" + "".join(char if char.isalnum() else "-" for char in field.key)


def _component(field: Field, *, is_open: bool) -> Any:
    value = shown(field, field.default)
    match field.kind:
        case Kind.SWITCH:
            return gr.Checkbox(value, label=field.label, interactive=is_open)
        case Kind.CHOICE:
            return gr.Dropdown(
                list(field.choices), value=value, label=field.label, filterable=False, interactive=is_open
            )
        case Kind.PAIRS:
            return gr.Textbox(value, label=field.label, lines=2, max_lines=6, interactive=is_open)
        case Kind.WHOLE | Kind.NUMBER | Kind.NAMES | Kind.TEXT:
            # A number is typed as text: a number box turns what it cannot read into nothing.
            return gr.Textbox(
                value, label=field.label, lines=1, max_lines=1, placeholder=field.none, interactive=is_open
            )
