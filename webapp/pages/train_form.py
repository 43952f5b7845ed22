"""The Train page's components by what they are, and what fills them. Makes no component and wires nothing."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from models.domain.training import KeptTogether
from webapp.actions.show_training_choices import FileChoice, TrainingChoices
from webapp.pages.preset_menu import menu
from webapp.views import train_mix, train_wish
from webapp.views.form import Slot
from webapp.views.markup import short_number
from webapp.views.train_wish import BASE, BY_FILE, FILE, SHARE, VALIDATION, VALIDATION_FILE, Typed


class Form:
    """`inputs` are all a person can set, in the order of `keys`; `mixer` is where another dataset is chosen to mix in.

    `core` are components without a field of their own: base, files, validation, preset, name, and the slots of a mix.
    """

    def __init__(self) -> None:
        self.core: dict[str, Any] = {}
        self.slots: dict[str, Slot] = {}
        self.mixer: Any = None

    @property
    def keys(self) -> list[str]:
        return [*self.core, *self.slots]

    @property
    def inputs(self) -> list[Any]:
        return [*self.core.values(), *(slot.component for slot in self.slots.values())]

    @property
    def mixed(self) -> list[Any]:
        return [self.core[key] for key in train_mix.KEYS]

    def typed(self, values: Sequence[Any]) -> Typed:
        return dict(zip(self.keys, values, strict=True))

    def filled(self, typed: Typed, choices: TrainingChoices) -> list[Any]:
        """An update for each input, with what can be chosen; from then on somebody can type."""
        may = {"interactive": choices.may_start}
        is_file = typed[VALIDATION] == BY_FILE
        special = {
            BASE: {"choices": base_choices(choices)},
            FILE: {"choices": file_choices(choices)},
            VALIDATION_FILE: {"choices": file_choices(choices), "interactive": choices.may_start and is_file},
            SHARE: {"interactive": choices.may_start and not is_file},
            train_wish.PRESET: {"choices": menu(choices)},
        }
        return [gr.update(value=typed[key], **(may | special.get(key, {}))) for key in self.keys]


def sides(validation: str) -> list[Any]:
    """Only the chosen way to validate can be typed into."""
    is_file = validation == BY_FILE
    return [gr.update(interactive=is_file), gr.update(interactive=not is_file)]


def show_options_of(slots: Sequence[Slot]) -> Any:
    """Only the chosen method's options stand on the page."""

    def show(method: str) -> Any:
        shown = [gr.update(visible=train_wish.is_option_of(slot.field, method)) for slot in slots]
        return shown if len(shown) != 1 else shown[0]  # Gradio takes a list of one for the value itself

    return show


def show_options_of_objective(slots: Sequence[Slot]) -> Any:
    """Only the chosen objective's options stand on the page."""

    def show(objective: str) -> Any:
        typed = {train_wish.OBJECTIVE: objective}
        return [gr.update(visible=train_wish.is_in_use(slot.field, typed)) for slot in slots]

    return show


def show_column(kept_together: str) -> Any:
    """The column is asked for only where rows stay together by one."""
    return gr.update(visible=kept_together == KeptTogether.COLUMN)


def mixes_in(form: Form) -> Any:
    """The chosen dataset takes the next slot, and the chooser is empty again."""

    def add(file: str | None, *values: Any) -> list[Any]:
        typed = form.typed(values)
        if file and file not in (typed[FILE], *train_mix.files(typed)):
            typed |= train_mix.added(typed, train_mix.FileId(file))
        return [None, *(typed[key] for key in train_mix.KEYS)]

    return add


def takes_out(form: Form, place: int) -> Any:
    def remove(*values: Any) -> list[Any]:
        found = train_mix.removed(form.typed(values), place)
        return [found[key] for key in train_mix.KEYS]

    return remove


def base_choices(choices: TrainingChoices) -> list[tuple[str, str]]:
    return [(f"{base.name} ({short_number(base.parameters)})", base.id) for base in choices.bases]


def file_choices(choices: TrainingChoices) -> list[tuple[str, str]]:
    return [(file_label(file), file.id) for file in choices.files]


def file_label(file: FileChoice) -> str:
    version = f" v{file.number}" if file.number > 1 or not file.is_newest else ""
    state = {"uploaded": " · not checked yet", "error": " · cannot be used"}.get(file.status, "")
    return f"{file.name}{version}{' · sample' if file.is_sample else ''}{state}"


def first_base(choices: TrainingChoices) -> str | None:
    return choices.bases[0].id if choices.bases else None
