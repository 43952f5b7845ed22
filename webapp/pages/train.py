"""Start a run: base model, data and method on the left, what it would take on the right. Components and wiring."""

import json
from typing import Any

import gradio as gr
from gradio.context import Context

from models.domain.presets import HOUSE
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.train_answers import Answer
from webapp.pages.train_form import (
    Form,
    mixes_in,
    show_column,
    show_options_of,
    show_options_of_objective,
    sides,
    takes_out,
)
from webapp.pages.train_presets import PresetBox, Presets, put_box, put_choice
from webapp.pages.train_shown import card_of, head_of, said
from webapp.pages.train_sweep import START, Beside, put_sweep
from webapp.pages.wiring import on
from webapp.views import train_mix, train_sweep
from webapp.views.form import put, put_groups
from webapp.views.markup import render
from webapp.views.train_draft import LONGEST_DRAFT
from webapp.views.train_wish import (
    BASE,
    BY_FILE,
    BY_KEY,
    BY_SHARE,
    COLUMN,
    FIELDS,
    FILE,
    KEPT_TOGETHER,
    MAX_LENGTH,
    METHOD,
    NAME,
    OBJECTIVE,
    PRESET,
    SHARE,
    VALIDATION,
    VALIDATION_FILE,
    is_objective_option,
    is_option,
    is_option_of,
)

REFRESH_SECONDS = 5
MOST_CURES = 6  # settings of which one change may make a run fit; the summary's own buttons press these
# What was typed stays in this browser, with every change and before the server is asked: a reload, a failed start or a
# server that is away loses nothing. A started run clears it. Nothing is kept until the form has been filled.
KEPT = "() => { try { return [localStorage.getItem('tuneroom-train') || '']; } catch { return ['']; } }"
KEEP = """(...values) => {
  const who = document.querySelector('[data-train-who]')?.dataset.trainWho;
  const typed = Object.fromEntries(NAMES.map((name, index) => [name, values[index]]));
  const draft = JSON.stringify({ who, address: location.search, typed });
  try { if (who) localStorage.setItem('tuneroom-train', draft); } catch { /* no storage in private windows */ }
}"""
GO = """(path) => {
  if (!path) return;
  try { localStorage.removeItem('tuneroom-train'); } catch { /* as above */ }
  location.assign(path);
}"""
SETTLE = "() => window.tuneroomSettle('#train-look')"
SETTLED = "() => window.tuneroomSettled('#train-look')"


def build(deps: Deps) -> None:
    form = Form()
    kept = gr.Textbox(elem_classes="tr-hidden", label="Draft", max_length=LONGEST_DRAFT)
    go = gr.Textbox(elem_classes="tr-hidden", label="Next")
    head = gr.HTML(head_of(), padding=False, elem_classes=["tr-flat", "tr-train-head"])
    origin = gr.HTML("", padding=False, elem_classes="tr-flat")
    with gr.Row(elem_classes="tr-train", equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="tr-train-steps"):
            notes, take_out, preset_box = _steps(form)
            with gr.Accordion(
                "Advanced: rows, rank, alpha, layers, 4-bit, schedule, batch …", open=False, elem_classes="tr-advanced"
            ) as advanced:
                percentile, percentile_note = _advanced(form)
                yaml_bar = gr.HTML(render("train_yaml.html", text=""), padding=False, elem_classes="tr-flat")
                pasted, fill_in, paste_said = _yaml_box()
            sweep_note = put_sweep(form)
            notes |= _ending(form)
            start = gr.Button(START, variant="primary", elem_classes=["tr-submit", "tr-start"], interactive=False)
            start_said = gr.HTML(said(), padding=False, elem_classes="tr-flat")
        with gr.Column(scale=3, min_width=300, elem_classes="tr-train-side"):
            card = gr.HTML(card_of(None), padding=False)
            cures = [gr.Button(elem_id=f"tr-cure-{place}", elem_classes="tr-hidden") for place in range(MOST_CURES)]
    tick = gr.Timer(REFRESH_SECONDS)
    tried = gr.State(False)  # after a refused start, what is missing stays marked until it is there
    writing = gr.State("")  # what a count of tokens depends on, as it was at the last refresh
    told = gr.State(None)  # what was shown, so that only what changed is sent
    answer = Answer(deps, form, list(notes))
    shown = [card, yaml_bar, *notes.values(), *(slot.note for slot in form.slots.values()), percentile, percentile_note]
    keep = KEEP.replace("NAMES", json.dumps(form.keys))
    root = Context.root_block
    assert root is not None
    filled = on(root.load, answer.open, kept, [*form.inputs, form.mixer, head, start], js=KEPT)
    # Filling the form changes dozens of fields at once, and typing one after the other: one look for a burst.
    ask = gr.Button(elem_id="train-look", elem_classes="tr-hidden")
    on(filled.then, None, js=SETTLE)
    kept_then_settled = f"(...values) => {{ ({keep})(...values); ({SETTLE})(); }}"
    on(_any_of([component.change for component in form.inputs]), None, form.inputs, js=kept_then_settled)
    looked = on(ask.click, answer.watch, [*form.inputs, tried, told], [told, *shown])
    on(looked.then, None, js=SETTLED)
    on(looked.failure, None, js=SETTLED)
    beside = Beside(deps, form)
    on(ask.click, beside.watch, form.inputs, [origin, sweep_note, start])
    knobs = [form.core[knob] for knob in train_sweep.KNOBS]
    on(form.slots[METHOD].component.change, beside.knobs, form.inputs, knobs)
    on(
        form.core[VALIDATION].change,
        sides,
        form.core[VALIDATION],
        [form.core[VALIDATION_FILE], form.slots[SHARE].component],
    )
    on(
        tick.tick, answer.refresh, [*form.inputs, tried, writing, told],
        [writing, form.core[BASE], form.core[FILE], told, *shown],
    )  # fmt: skip
    options = [slot for slot in form.slots.values() if is_option(slot.field)]
    method = form.slots[METHOD].component
    on(method.change, show_options_of(options), method, [slot.column for slot in options])
    aims = [slot for slot in form.slots.values() if is_objective_option(slot.field)]
    objective = form.slots[OBJECTIVE].component
    on(objective.change, show_options_of_objective(aims), objective, [slot.column for slot in aims])
    on(form.slots[KEPT_TOGETHER].component.change, show_column, form.slots[KEPT_TOGETHER].component,
       form.slots[COLUMN].column)  # fmt: skip
    Presets(deps, form, notes[PRESET], preset_box).wire(filled)
    on(form.mixer.input, mixes_in(form), [form.mixer, *form.inputs], [form.mixer, *form.mixed])
    for place, button in enumerate(take_out):
        on(button.click, takes_out(form, place), form.inputs, form.mixed)
    on(percentile.click, answer.percentile, form.inputs, form.slots[MAX_LENGTH].component)
    for place, button in enumerate(cures):
        on(button.click, answer.cure(place), form.inputs, form.inputs)
    on(fill_in.click, answer.paste, [pasted, *form.inputs], [*form.inputs, paste_said, pasted])
    started = on(
        start.click, answer.start, form.inputs, [go, start_said, tried, advanced, told, *shown], trigger_mode="once"
    )  # fmt: skip
    on(started.then, None, go, None, js=GO)


# -- components -------------------------------------------------------------------------------------------------


def _steps(form: Form) -> tuple[dict[str, gr.HTML], list[gr.Button], PresetBox]:
    """Base, data, preset. Returns their notes by key, the buttons that take a mixed dataset out again, the box.

    Nobody can type before the form is filled: the filling would write over it.
    """
    notes: dict[str, gr.HTML] = {}
    _step(1, "Base model")
    form.core[BASE] = _chooser("Base model")
    notes[BASE] = _note("train_base.html", base=None, importing=(), has_any=True)
    _step(2, "Data")
    form.core[FILE] = _chooser("Dataset")
    notes[FILE] = _note("train_data.html", file=None, has_any=True, hint="", warnings=())
    mixed, take_out = _mix(form)
    notes |= mixed
    with gr.Row(elem_classes="tr-fields", equal_height=False):
        with gr.Column(elem_classes="tr-field", min_width=220):
            form.core[VALIDATION] = gr.Radio(
                [("Hold back a share", BY_SHARE), ("Another file", BY_FILE)], value=BY_SHARE, label="Validation",
                interactive=False,
            )  # fmt: skip
        form.slots[SHARE] = put(BY_KEY[SHARE], is_open=False)
        with gr.Column(elem_classes="tr-field", min_width=220):
            form.core[VALIDATION_FILE] = _chooser("File to validate with")
            notes[VALIDATION_FILE] = _note("train_data.html", file=None, has_any=True, hint="", warnings=())
    _step(3, "Method")
    form.core[PRESET] = put_choice()
    notes[PRESET] = _note("train_preset.html", preset=HOUSE, changed=(), kept=None, again="")
    return notes, take_out, put_box()


def _mix(form: Form) -> tuple[dict[str, gr.HTML], list[gr.Button]]:
    """A chooser that adds a dataset, and a slot for each that may be added; an empty slot is not seen."""
    notes, take_out = {}, []
    for file, weight in zip(train_mix.FILES, train_mix.WEIGHTS, strict=True):
        with gr.Row(elem_classes="tr-mixed-slot", equal_height=False):
            form.core[file] = gr.Textbox("", label="File", elem_classes="tr-hidden")
            with gr.Column(scale=4, min_width=200):
                notes[file] = _note("train_mixed.html", id="", file=None, warnings=(), rows=None)
            form.core[weight] = gr.Textbox(
                "1", label=train_mix.WEIGHT.label, max_lines=1, scale=1, min_width=90, interactive=False
            )  # fmt: skip
            take_out.append(gr.Button("Remove", size="sm", variant="secondary", scale=0, min_width=80))
    form.mixer = _chooser("Mix in another dataset", elem_classes="tr-mixer")
    return notes, take_out


def _advanced(form: Form) -> tuple[gr.Button, gr.HTML]:
    """Returns the button that sets the longest row from the counted tokens, and its note."""
    hidden = {field.key for field in FIELDS if is_option(field) and not is_option_of(field, HOUSE.method.name)}
    hidden |= {field.key for field in FIELDS if is_objective_option(field)}
    others = (field for field in FIELDS if field.key != SHARE)
    for slot in put_groups(others, is_hidden=lambda one: one.key in (*hidden, COLUMN), is_open=False):
        form.slots[slot.field.key] = slot
    with form.slots[MAX_LENGTH].column:
        button = gr.Button(
            "99th percentile", size="sm", variant="secondary", elem_classes="tr-percentile", interactive=False
        )  # fmt: skip
        note = render("train_note.html", note="", problem=None)
        return button, gr.HTML(note, padding=False, elem_classes=["tr-flat", "tr-percentile-note"])


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
        label="Name",
        max_lines=1,
        placeholder="named for you if left empty",
        elem_classes="tr-run-name",
        interactive=False,
    )
    return {NAME: _note("train_note.html", note="")}


def _step(number: int, title: str) -> None:
    gr.HTML(render("train_step.html", number=number, title=title), padding=False, elem_classes="tr-flat")


def _chooser(label: str, **options: Any) -> gr.Dropdown:
    """Any value is let through: Gradio would answer a thing deleted meanwhile with a toast, we say it in place."""
    return gr.Dropdown([], value=None, label=label, allow_custom_value=True, interactive=False, **options)


def _note(template: str, **facts: Any) -> gr.HTML:
    return gr.HTML(render(template, problem=None, **facts), padding=False, elem_classes="tr-flat")


def _any_of(triggers: list[Any]) -> Any:
    return lambda *args, **options: gr.on(triggers, *args, **options)


PAGE = Page(path="/train", title="Train", build=build, place=2)
