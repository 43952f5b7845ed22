"""The Train page's presets: their choice, and the box where one is saved from the form or imported. Components and
handlers; who may do what with a preset is the business of `webapp.actions.presets`.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.domain.errors import AppError
from models.domain.presets import HOUSE, PRESETS, settings_of
from webapp.actions.presets import change_preset, import_preset, save_preset
from webapp.actions.show_training_choices import show_training_choices
from webapp.deps import Deps
from webapp.pages.preset_menu import AGAIN, chosen, kept, menu, note_of_preset, preset_of
from webapp.pages.train_form import Form
from webapp.pages.wiring import caller, on
from webapp.views import train_wish
from webapp.views.fields import shown
from webapp.views.form import Slot
from webapp.views.markup import render
from webapp.views.train_wish import PRESET, Typed

# -- components -------------------------------------------------------------------------------------------------


def put_choice() -> gr.Radio:
    radio = gr.Radio(menu(), value=HOUSE.name, label="Preset", elem_classes="tr-presets", interactive=False)
    # Gradio refuses a value that was not among the choices when the page was built; what is unknown is said in place.
    radio.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return radio


@dataclass(frozen=True)
class PresetBox:
    """Where a preset is saved from the form, or imported."""

    name: gr.Textbox
    is_shared: gr.Checkbox
    save: gr.Button
    change: gr.Button
    save_said: gr.HTML
    text: gr.Textbox
    read: gr.Button
    read_said: gr.HTML
    again: gr.Button


def put_box() -> PresetBox:
    with gr.Accordion("Save as preset, or import one", open=False, elem_classes=["tr-from-yaml", "tr-preset-box"]):
        name = gr.Textbox(
            label="Preset's name", max_lines=1, placeholder="Support tone", max_length=2000, interactive=False
        )  # fmt: skip
        is_shared = gr.Checkbox(False, label="Share with the team", interactive=False)
        with gr.Row(elem_classes="tr-preset-save"):
            save = gr.Button(
                "Save preset", size="sm", variant="secondary", scale=0, min_width=120, elem_classes="tr-fill",
                interactive=False,
            )  # fmt: skip
            change = gr.Button(
                "Change the chosen one", size="sm", variant="secondary", scale=0, min_width=170,
                elem_classes="tr-fill", interactive=False,
            )  # fmt: skip
        save_said = gr.HTML(_said(), padding=False, elem_classes="tr-flat")
        text = gr.Textbox(
            label="Preset as YAML", lines=4, max_lines=12, placeholder="preset: …", elem_classes="tr-code",
            elem_id="preset-yaml", interactive=False,
        )  # fmt: skip
        gr.HTML(render("train_preset_file.html"), padding=False, elem_classes="tr-flat")
        read = gr.Button(
            "Import preset", size="sm", variant="secondary", elem_classes="tr-fill", interactive=False
        )  # fmt: skip
        read_said = gr.HTML(_said(), padding=False, elem_classes="tr-flat")
    # Outside the box: what is in a closed one is not in the page.
    again = gr.Button("Ask again", elem_id=AGAIN, elem_classes="tr-hidden")
    return PresetBox(name, is_shared, save, change, save_said, text, read, read_said, again)


def _said(problem: str = "", *, good: str | None = None) -> Markup:
    return render("train_problems.html", problems=[problem] if problem else [], title=None, good=good)


# -- what happens -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Presets:
    """The handlers of presets, wired to the form, its preset's note and the box."""

    deps: Deps
    form: Form
    note: gr.HTML
    box: PresetBox

    def wire(self, filled: Any) -> None:
        form, box = self.form, self.box
        radio, fields = form.core[PRESET], [slot.component for slot in form.slots.values()]
        on(radio.input, self.choose, form.inputs, fields)
        for slot in form.slots.values():
            on(slot.reset.click, self.resets(slot), radio, slot.component)
        on(filled.then, self.opens, None, [box.name, box.is_shared, box.save, box.change, box.text, box.read])
        on(
            box.save.click, self.save, [box.name, box.is_shared, *form.inputs],
            [radio, self.note, box.name, box.is_shared, box.save_said], trigger_mode="once",
        )  # fmt: skip
        on(
            box.change.click, self.change, [box.name, *form.inputs], [radio, self.note, box.name, box.save_said],
            trigger_mode="once",
        )  # fmt: skip
        on(
            box.read.click, self.take, [box.text, box.name, box.is_shared, *form.inputs],
            [radio, self.note, box.text, box.name, box.is_shared, box.read_said, *fields], trigger_mode="once",
        )  # fmt: skip
        on(box.again.click, self.again, form.inputs, [radio, self.note])

    def opens(self, request: gr.Request) -> list[Any]:
        """Who may start runs may keep presets, and nobody else types here."""
        may = show_training_choices(self.deps, caller(request)).may_start
        return [gr.update(interactive=may) for _ in range(6)]

    def choose(self, request: gr.Request, *values: Any) -> list[Any]:
        """The fields as the chosen preset says; as they are where it cannot be used."""
        typed = self.form.typed(values)
        choices = show_training_choices(self.deps, caller(request))
        preset = chosen(choices, typed[PRESET])
        if preset.name == typed[PRESET]:
            typed = train_wish.fill(typed, preset)
        return [typed[key] for key in self.form.slots]

    def resets(self, slot: Slot) -> Any:
        def reset(request: gr.Request, key: str) -> Any:
            preset = chosen(show_training_choices(self.deps, caller(request)), key)
            return shown(slot.field, train_wish.defaults_of(preset)[slot.field.key])

        return reset

    def save(self, request: gr.Request, name: str, is_shared: bool, *values: Any) -> list[Any]:
        """Saves what the form says, and chooses it."""
        typed = self.form.typed(values)
        checked = train_wish.check(typed)
        if checked.spec is None:
            return self._refused(4, "Something in the form cannot be used yet; it is marked. Correct it, then save.")
        try:
            settings = settings_of(checked.spec)
            seen = save_preset(self.deps, caller(request), str(name or ""), settings, is_shared=bool(is_shared))
        except AppError as error:
            return self._refused(4, error.message)
        return [*self._chosen(request, typed, seen.id), "", False, _said(good=f'Saved as "{seen.name}".')]

    def change(self, request: gr.Request, name: str, *values: Any) -> list[Any]:
        """The chosen preset becomes what the form says, under the name in the box where there is one."""
        typed, me = self.form.typed(values), caller(request)
        checked, seen = train_wish.check(typed), show_training_choices(self.deps, me).preset(str(typed[PRESET]))
        if seen is None:
            return self._refused(3, "Choose the preset to change above first; Tuneroom's own stay as they are.")
        if checked.spec is None:
            return self._refused(3, "Something in the form cannot be used yet; it is marked. Correct it first.")
        try:
            new_name = str(name or "").strip() or None
            seen = change_preset(self.deps, me, seen.id, name=new_name, settings=settings_of(checked.spec))
        except AppError as error:
            return self._refused(3, error.message)
        return [*self._chosen(request, typed, seen.id), "", _said(good=f'"{seen.name}" is changed.')]

    def take(self, request: gr.Request, text: str, name: str, is_shared: bool, *values: Any) -> list[Any]:
        """Imports a preset, chooses it and fills the form with it."""
        typed = self.form.typed(values)
        try:
            seen = import_preset(
                self.deps, caller(request), str(text or ""), name=str(name or ""), is_shared=bool(is_shared)
            )
        except AppError as error:
            return self._refused(5, error.message) + [gr.skip() for _ in self.form.slots]
        typed = train_wish.fill(typed, kept(seen))
        good = _said(good=f'Imported as "{seen.name}"; the form is filled with it.')
        fields = [typed[key] for key in self.form.slots]
        return [*self._chosen(request, typed, seen.id), "", "", False, good, *fields]

    def again(self, request: gr.Request, *values: Any) -> list[Any]:
        """After a preset was shared or deleted: what can be chosen now. What it set stays in the form."""
        typed = self.form.typed(values)
        choices = show_training_choices(self.deps, caller(request))
        key = str(typed[PRESET])
        is_there = key in PRESETS or choices.preset(key) is not None
        return self._chosen(request, typed, key if is_there else preset_of(choices, typed))

    def _chosen(self, request: gr.Request, typed: Typed, key: str) -> list[Any]:
        choices = show_training_choices(self.deps, caller(request))
        return [gr.update(choices=menu(choices), value=key), note_of_preset(typed | {PRESET: key}, choices)]

    def _refused(self, unchanged: int, sentence: str) -> list[Any]:
        return [*(gr.skip() for _ in range(unchanged)), _said(sentence)]
