"""The Train page's group for several runs at once, and the line that says what a clone changes. Beside the form."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from models.domain.access import Member
from models.domain.errors import AppError, Invalid
from models.domain.sweeps import SweepMode
from models.domain.training import TrainingSpec
from webapp.actions.estimate_sweep import SweepEstimate, estimate_sweep
from webapp.actions.once import request_hash
from webapp.actions.plan_sweep import PlannedRun, plan_sweep
from webapp.actions.show_training_choices import TrainingChoices, settings_of_run, show_training_choices
from webapp.actions.start_sweep import start_sweep
from webapp.actions.start_training import start_training
from webapp.deps import Deps
from webapp.pages.train_form import Form
from webapp.pages.train_seen import known_parts
from webapp.pages.train_shown import suggested_name
from webapp.pages.wiring import asked, caller
from webapp.views import train_clone, train_sweep, train_wish
from webapp.views.markup import render
from webapp.views.train_wish import BY_KEY, FIELDS, Typed

START = "Start run"
LONGEST_NAME = 40  # the values of each run are written behind it


def put_sweep(form: Form) -> gr.HTML:
    """The components, added to the form's; returns the note below them."""
    with gr.Accordion(
        "Sweep: several runs over values of a setting", open=False, elem_classes=["tr-from-yaml", "tr-sweep-box"]
    ):
        for place, (knob, values) in enumerate(zip(train_sweep.KNOBS, train_sweep.VALUES, strict=True)):
            with gr.Row(elem_classes="tr-sweep-slot", equal_height=False):
                form.core[knob] = gr.Dropdown(
                    knob_choices(train_wish.typed_of(train_wish.spec_of(train_wish.HOUSE))), value=None,
                    label="Setting" if place == 0 else "and", allow_custom_value=True, interactive=False, scale=2,
                    min_width=150,
                )  # fmt: skip
                form.core[values] = gr.Textbox(
                    label="Values", max_lines=1, placeholder="8, 16, 32" if place == 0 else "", interactive=False,
                    scale=3, min_width=150,
                )  # fmt: skip
        form.core[train_sweep.MODE] = gr.Radio(
            [("Every value with every other", SweepMode.GRID.value), ("First with first, second with second",
              SweepMode.LIST.value)],
            value=SweepMode.GRID.value, label="Together", interactive=False,
        )  # fmt: skip
        return gr.HTML(_note(), padding=False, elem_classes="tr-flat")


def knob_choices(typed: Typed) -> list[tuple[str, str]]:
    """What can be varied with the method that is chosen, as the form names it."""
    used = [field for field in FIELDS if train_sweep.can_vary(field) and train_wish.is_in_use(field, typed)]
    return [(f"{field.title} · {field.group}", field.key) for field in used]


def started(deps: Deps, me: Member, spec: TrainingSpec, typed: Typed) -> str:
    """The address of what was started: one run, or a sweep where something is varied. Raises AppError."""
    told = spec.model_dump(mode="json")
    if not train_sweep.is_asked(typed):
        return f"/run?id={start_training(deps, me, spec, request_hash=request_hash('train', told, None)).job.id}"
    wish, problems = train_sweep.read(typed, BY_KEY)
    if problems:
        raise Invalid(f"Sweep: {next(iter(problems.values()))}")
    hashed = {"spec": told, "knobs": [knob.model_dump(mode="json") for knob in wish.knobs], "mode": wish.mode}
    made = start_sweep(
        deps, me, spec, name=_short(spec.suffix or "sweep"), knobs=wish.knobs, mode=wish.mode,
        request_hash=request_hash("sweep", hashed, None),
    )  # fmt: skip
    return f"/sweep?id={made}"


@dataclass(frozen=True)
class Beside:
    """The handlers of what stands beside the form."""

    deps: Deps
    form: Form

    def watch(self, request: gr.Request, *values: Any) -> list[Any]:
        """The line about the run that this one is a clone of, the sweep's note, and the word on the start button."""
        me, typed = caller(request), self.form.typed(values)
        if not train_sweep.is_asked(typed):
            return [self._origin(request, me, typed), _note(), gr.update(value=START)]
        choices = show_training_choices(self.deps, me)
        note, count = self._sweep(me, typed, choices)
        word = f"Start {count} runs" if count else START
        return [self._origin(request, me, typed), note, gr.update(value=word)]

    def knobs(self, *values: Any) -> list[Any]:
        """Other methods have other settings to vary."""
        choices = knob_choices(self.form.typed(values))
        return [gr.update(choices=choices) for _ in train_sweep.KNOBS]

    def _origin(self, request: gr.Request, me: Member, typed: Typed) -> Any:
        run = asked(request, "from")
        if not run:
            return gr.skip()
        try:
            return train_clone.line(run, settings_of_run(self.deps, me, run), typed)
        except AppError:
            return ""  # the head of the page says that there is no such run

    def _sweep(self, me: Member, typed: Typed, choices: TrainingChoices) -> tuple[Any, int]:
        wish, problems = train_sweep.read(typed, BY_KEY)
        spec = train_wish.check(typed).spec
        if problems or spec is None:
            wrong = list(problems.values()) or ["Correct what is marked above first."]
            return _note(problems=wrong), 0
        name = _short(spec.suffix or suggested_name(typed, choices))
        try:
            runs = plan_sweep(known_parts(spec, choices), wish.knobs, wish.mode, name)
            return _note(runs=runs, estimate=estimate_sweep(self.deps, me, runs)), len(runs)
        except AppError as error:
            return _note(problems=[error.message[:1].upper() + error.message[1:]]), 0


def _note(
    *, problems: list[str] | None = None, runs: list[PlannedRun] | None = None, estimate: SweepEstimate | None = None
) -> Any:
    return render("train_sweep.html", problems=problems or [], runs=runs or [], estimate=estimate)


def _short(name: str) -> str:
    return name[:LONGEST_NAME].rstrip("-._") or "sweep"
