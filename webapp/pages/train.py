"""Start a run: base model, data and method on the left, what it would take on the right. Components and wiring."""

import json
from typing import Any

import gradio as gr
from gradio.context import Context

from models.domain.presets import HOUSE, PRESETS
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.train_answers import (
    Answer,
    Form,
    card_of,
    choose_preset,
    head_of,
    resets,
    said,
    show_options_of,
    sides,
)
from webapp.pages.wiring import on
from webapp.views.form import put, put_groups
from webapp.views.markup import render
from webapp.views.train_draft import LONGEST_DRAFT
from webapp.views.train_wish import (
    BASE,
    BY_FILE,
    BY_KEY,
    BY_SHARE,
    FIELDS,
    FILE,
    METHOD,
    NAME,
    PRESET,
    SHARE,
    VALIDATION,
    VALIDATION_FILE,
    is_option,
)

REFRESH_SECONDS = 5
# What was typed stays in this browser, with every change and before the server is asked: a reload, a failed start or a
# server that is away loses nothing. A started run clears it. Nothing is kept until the form has been filled.
KEPT = "() => { try { return [localStorage.getItem('tuneroom-train') || '']; } catch { return ['']; } }"
KEEP = """(...values) => {
  const who = document.querySelector('[data-train-who]')?.dataset.trainWho;
  const typed = Object.fromEntries(NAMES.map((name, index) => [name, values[index]]));
  const draft = JSON.stringify({ who, address: location.search, typed });
  try { if (who) localStorage.setItem('tuneroom-train', draft); } catch { /* no storage in private windows */ }
  return values;
}"""
GO = """(path) => {
  if (!path) return;
  try { localStorage.removeItem('tuneroom-train'); } catch { /* as above */ }
  location.assign(path);
}"""


def build(deps: Deps) -> None:
    form = Form()
    kept = gr.Textbox(elem_classes="tr-hidden", label="Draft", max_length=LONGEST_DRAFT)
    go = gr.Textbox(elem_classes="tr-hidden", label="Next")
    head = gr.HTML(head_of(), padding=False, elem_classes=["tr-flat", "tr-train-head"])
    with gr.Row(elem_classes="tr-train", equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="tr-train-steps"):
            notes = _steps(form)
            with gr.Accordion(
                "Advanced: rank, alpha, layers, 4-bit, schedule, batch …", open=False, elem_classes="tr-advanced"
            ) as advanced:
                _advanced(form)
                yaml_bar = gr.HTML(render("train_yaml.html", text=""), padding=False, elem_classes="tr-flat")
                pasted, fill_in, paste_said = _yaml_box()
            notes |= _ending(form)
            start = gr.Button("Start run", variant="primary", elem_classes=["tr-submit", "tr-start"], interactive=False)
            start_said = gr.HTML(said(), padding=False, elem_classes="tr-flat")
        with gr.Column(scale=3, min_width=300, elem_classes="tr-train-side"):
            card = gr.HTML(card_of(None), padding=False)
    tick = gr.Timer(REFRESH_SECONDS)
    tried = gr.State(False)  # after a refused start, what is missing stays marked until it is there
    answer = Answer(deps, form, notes)
    shown = [card, yaml_bar, *notes.values(), *(slot.note for slot in form.slots.values())]
    keep = KEEP.replace("NAMES", json.dumps(form.keys))
    root = Context.root_block
    assert root is not None
    filled = on(
        root.load, answer.open, kept, [*form.inputs, head, start], js=KEPT
    )  # fmt: skip
    on(filled.then, answer.watch, [*form.inputs, tried], shown)
    changes = [component.change for component in form.inputs]
    on(_any_of(changes), answer.watch, [*form.inputs, tried], shown, js=keep, trigger_mode="always_last")
    on(form.core[PRESET].input, choose_preset(form), form.inputs, [slot.component for slot in form.slots.values()])
    on(
        form.core[VALIDATION].change,
        sides,
        form.core[VALIDATION],
        [form.core[VALIDATION_FILE], form.slots[SHARE].component],
    )
    on(tick.tick, answer.refresh, [*form.inputs, tried], [form.core[BASE], form.core[FILE], *shown])
    options = [slot for slot in form.slots.values() if is_option(slot.field)]
    method = form.slots[METHOD].component
    on(method.change, show_options_of(options), method, [slot.column for slot in options])
    for slot in form.slots.values():
        on(slot.reset.click, resets(slot), form.core[PRESET], slot.component)
    on(fill_in.click, answer.paste, [pasted, *form.inputs], [*form.inputs, paste_said, pasted])
    started = on(
        start.click, answer.start, form.inputs, [go, start_said, tried, advanced, *shown], trigger_mode="once"
    )  # fmt: skip
    on(started.then, None, go, None, js=GO)


# -- components -------------------------------------------------------------------------------------------------


def _steps(form: Form) -> dict[str, gr.HTML]:
    """Base, data, preset. Returns their notes by key."""
    notes: dict[str, gr.HTML] = {}
    _step(1, "Base model")
    form.core[BASE] = _chooser("Base model")
    notes[BASE] = _note("train_base.html", base=None, importing=(), has_any=True)
    _step(2, "Data")
    form.core[FILE] = _chooser("Dataset")
    notes[FILE] = _note("train_data.html", file=None, has_any=True, hint="")
    with gr.Row(elem_classes="tr-fields", equal_height=False):
        with gr.Column(elem_classes="tr-field", min_width=220):
            form.core[VALIDATION] = gr.Radio(
                [("Hold back a share", BY_SHARE), ("Another file", BY_FILE)], value=BY_SHARE, label="Validation"
            )  # fmt: skip
        form.slots[SHARE] = put(BY_KEY[SHARE])
        with gr.Column(elem_classes="tr-field", min_width=220):
            form.core[VALIDATION_FILE] = _chooser("File to validate with", interactive=False)
            notes[VALIDATION_FILE] = _note("train_data.html", file=None, has_any=True, hint="")
    _step(3, "Method")
    form.core[PRESET] = gr.Radio(
        [(preset.title, name) for name, preset in PRESETS.items()], value=HOUSE.name, label="Preset",
        elem_classes="tr-presets",
    )  # fmt: skip
    notes[PRESET] = _note("train_preset.html", preset=HOUSE, changed=())
    return notes


def _advanced(form: Form) -> None:
    others = [field for field in FIELDS if is_option(field) and field.key.partition(".")[0] != HOUSE.method.name]
    for slot in put_groups((field for field in FIELDS if field.key != SHARE), is_hidden=lambda one: one in others):
        form.slots[slot.field.key] = slot


def _yaml_box() -> tuple[gr.Textbox, gr.Button, gr.HTML]:
    with gr.Accordion("From YAML", open=False, elem_classes="tr-from-yaml"):
        pasted = gr.Textbox(
            label="Settings as YAML", lines=8, max_lines=16, placeholder="base: …", elem_classes="tr-code"
        )
        fill_in = gr.Button("Fill the form", size="sm", variant="secondary", elem_classes="tr-fill")
        answer = gr.HTML(said(), padding=False, elem_classes="tr-flat")
    return pasted, fill_in, answer


def _ending(form: Form) -> dict[str, gr.HTML]:
    form.core[NAME] = gr.Textbox(
        label="Name", max_lines=1, placeholder="named for you if left empty", elem_classes="tr-run-name"
    )
    return {NAME: _note("train_note.html", note="")}


def _step(number: int, title: str) -> None:
    gr.HTML(render("train_step.html", number=number, title=title), padding=False, elem_classes="tr-flat")


def _chooser(label: str, **options: Any) -> gr.Dropdown:
    """Any value is let through: Gradio would answer a thing deleted meanwhile with a toast, we say it in place."""
    return gr.Dropdown([], value=None, label=label, allow_custom_value=True, **options)


def _note(template: str, **facts: Any) -> gr.HTML:
    return gr.HTML(render(template, problem=None, **facts), padding=False, elem_classes="tr-flat")


def _any_of(triggers: list[Any]) -> Any:
    return lambda *args, **options: gr.on(triggers, *args, **options)


PAGE = Page(path="/train", title="Train", build=build, place=2)
