"""Start a run: base model, data and method on the left, what it would take on the right."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from models.domain.access import Member
from models.domain.errors import AppError, Invalid
from models.domain.presets import HOUSE, PRESETS
from webapp.actions.estimate_training import Estimate, estimate_training
from webapp.actions.once import request_hash
from webapp.actions.show_training_choices import (
    FileChoice,
    TrainingChoices,
    settings_of_run,
    show_training_choices,
)
from webapp.actions.start_training import start_training
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on
from webapp.views import fields, train_wish, train_yaml
from webapp.views.form import Slot, note_of, put, put_groups
from webapp.views.markup import render, short_number
from webapp.views.train_wish import (
    BASE,
    BY_FILE,
    BY_KEY,
    BY_SHARE,
    FIELDS,
    FILE,
    METHOD,
    NAME,
    SHARE,
    VALIDATION,
    VALIDATION_FILE,
    Checked,
    Typed,
)

REFRESH_SECONDS = 5
PRESET = "preset"
LONGEST_DRAFT = 200_000
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
NEEDS = "Choose a base model and a dataset to see what the run takes."


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Everything the answers of this page are made of, looked up once per event."""

    choices: TrainingChoices
    checked: Checked
    problems: dict[str, str]
    estimate: Estimate | None


class Form:
    """The page's components by what they are. `inputs` are all a person can set, in the order of `keys`."""

    def __init__(self) -> None:
        self.core: dict[str, Any] = {}
        self.slots: dict[str, Slot] = {}

    @property
    def keys(self) -> list[str]:
        return [*self.core, *self.slots]

    @property
    def inputs(self) -> list[Any]:
        return [*self.core.values(), *(slot.component for slot in self.slots.values())]

    def typed(self, values: tuple[Any, ...]) -> Typed:
        return dict(zip(self.keys, values, strict=True))


def build(deps: Deps) -> None:
    form = Form()
    kept = gr.Textbox(elem_classes="tr-hidden", label="Draft", max_length=LONGEST_DRAFT)
    go = gr.Textbox(elem_classes="tr-hidden", label="Next")
    head = gr.HTML(_head(None, None), padding=False)
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
            start_said = gr.HTML(_problems(()), padding=False, elem_classes="tr-flat")
        with gr.Column(scale=3, min_width=300, elem_classes="tr-train-side"):
            card = gr.HTML(_card(None, Checked(spec=None, problems={}), NEEDS), padding=False)
    tick = gr.Timer(REFRESH_SECONDS)
    answer = Answer(deps, form, notes)
    shown = [card, yaml_bar, *notes.values(), *(slot.note for slot in form.slots.values())]
    keep = KEEP.replace("NAMES", json.dumps(form.keys))
    root = Context.root_block
    assert root is not None
    filled = on(
        root.load, answer.open, kept, [*form.inputs, head, start], js=KEPT
    )  # fmt: skip
    on(filled.then, answer.watch, form.inputs, shown)
    changes = [component.change for component in form.inputs]
    on(_any_of(changes), answer.watch, form.inputs, shown, js=keep, trigger_mode="always_last")
    on(form.core[PRESET].input, answer.choose_preset, form.inputs, [slot.component for slot in form.slots.values()])
    on(
        form.core[VALIDATION].change,
        _sides,
        form.core[VALIDATION],
        [form.core[VALIDATION_FILE], form.slots[SHARE].component],
    )
    on(tick.tick, answer.refresh, form.inputs, [form.core[BASE], form.core[FILE], *shown])
    for slot in form.slots.values():
        on(slot.reset.click, _resets(slot), form.core[PRESET], slot.component)
    on(fill_in.click, answer.paste, [pasted, *form.inputs], [*form.inputs, paste_said, pasted])
    started = on(
        start.click, answer.start, form.inputs, [go, start_said, advanced, *shown], trigger_mode="once"
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
    for slot in put_groups(field for field in FIELDS if field.key != SHARE):
        form.slots[slot.field.key] = slot


def _yaml_box() -> tuple[gr.Textbox, gr.Button, gr.HTML]:
    with gr.Accordion("From YAML", open=False, elem_classes="tr-from-yaml"):
        pasted = gr.Textbox(
            label="Settings as YAML", lines=8, max_lines=16, placeholder="base: …", elem_classes="tr-code"
        )
        fill_in = gr.Button("Fill the form", size="sm", variant="secondary", elem_classes="tr-fill")
        said = gr.HTML(_problems(()), padding=False, elem_classes="tr-flat")
    return pasted, fill_in, said


def _ending(form: Form) -> dict[str, gr.HTML]:
    form.core[NAME] = gr.Textbox(label="Name", max_lines=1, placeholder="house-style-r16", elem_classes="tr-run-name")
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


# -- what the server answers ------------------------------------------------------------------------------------


class Answer:
    """The page's handlers: each reads the form as typed and returns what is shown."""

    def __init__(self, deps: Deps, form: Form, notes: Mapping[str, gr.HTML]) -> None:
        self.deps, self.form, self.notes = deps, form, notes

    def open(self, request: gr.Request, kept: str) -> list[Any]:
        """Fills the form: an earlier run's settings, what was typed here before, or the house default."""
        me = caller(request)
        choices = show_training_choices(self.deps, me)
        typed, preset = self._first(kept, me, choices, request)
        head = _head(me, choices)
        return [
            *self._components({**typed, PRESET: preset}, choices),
            head,
            gr.update(interactive=choices.may_start),
        ]

    def watch(self, request: gr.Request, *values: Any) -> list[Any]:
        """The summary and all notes for what is typed now."""
        typed = self.form.typed(values)
        return self._shown(typed, self._see(typed, caller(request)))

    def refresh(self, request: gr.Request, *values: Any) -> list[Any]:
        """As `watch`; and while something is awaited (an import, a check), what can be chosen."""
        typed = self.form.typed(values)
        seen = self._see(typed, caller(request))
        if seen.choices.bases and seen.choices.files:
            return [gr.skip(), gr.skip(), *self._shown(typed, seen)]
        base = gr.update(choices=_base_choices(seen.choices), value=typed[BASE] or _first_base(seen.choices))
        file = gr.update(choices=_file_choices(seen.choices))
        return [base, file, *self._shown(typed, seen)]

    def choose_preset(self, *values: Any) -> list[Any]:
        typed = self.form.typed(values)
        typed = train_wish.fill(typed, PRESETS.get(typed[PRESET], HOUSE))
        return [typed[key] for key in self.form.slots]

    def paste(self, request: gr.Request, text: str, *values: Any) -> list[Any]:
        """The form as the text says, or why it cannot be; then the form stays as it is."""
        unchanged = [gr.skip() for _ in self.form.keys]
        try:
            pasted = train_yaml.read(text or "")
        except Invalid as error:
            return [*unchanged, _problems(error.facts["problems"], "The form was left as it is."), gr.skip()]
        choices = show_training_choices(self.deps, caller(request))
        typed = train_wish.typed_of(pasted.spec)
        lost = _find(typed, pasted.names, choices, self.form.typed(values))
        preset = train_wish.preset_of(typed).name
        said = _problems(lost, "The form is filled, but:") if lost else _problems((), good="The form is filled.")
        return [*self._components({**typed, PRESET: preset}, choices), said, "" if not lost else gr.skip()]

    def start(self, request: gr.Request, *values: Any) -> list[Any]:
        """Starts the run and goes to it, or says beside each field what is wrong."""
        me, typed = caller(request), self.form.typed(values)
        seen = self._see(typed, me, needs_all=True)
        if not seen.problems and seen.checked.spec is not None:
            name = seen.checked.spec.suffix or self._suggested(typed, seen.choices)
            spec = seen.checked.spec.model_copy(update={"suffix": name})
            try:
                job = start_training(
                    self.deps, me, spec, request_hash=request_hash("train", spec.model_dump(mode="json"), None)
                ).job
                return [f"/run?id={job.id}", _problems(()), gr.skip(), *(gr.skip() for _ in self._shown(typed, seen))]
            except AppError as error:
                seen = _with_problem(seen, error, typed)
        advanced = any(key in BY_KEY and key != SHARE for key in seen.problems)
        said = [sentence for key, sentence in seen.problems.items() if key == ""]
        names = [_name_of(key) for key in seen.problems if key]
        title = f"Not started: look at {', '.join(names)}." if names else "Not started."
        return ["", _problems(said or ("Everything that was typed is still here.",), title),
                gr.update(open=True) if advanced else gr.skip(), *self._shown(typed, seen)]  # fmt: skip

    # -- parts of answers

    def _see(self, typed: Typed, me: Member, *, needs_all: bool = False) -> Seen:
        choices = show_training_choices(self.deps, me)
        checked = train_wish.check(typed, needs_all=needs_all)
        problems = dict(checked.problems) | _gone(typed, choices, needs_all=needs_all)
        seen = Seen(choices=choices, checked=checked, problems=problems, estimate=None)
        if checked.spec is None:
            return seen
        known = _known_parts(checked, choices)
        try:
            estimate = estimate_training(self.deps, me, known)
        except AppError as error:
            return _with_problem(seen, error, typed)
        if estimate.trainable == 0:
            nothing = "Nothing would be trained with these settings: the base has no such layers. Choose other layers."
            options = [field.key for field in FIELDS if field.path == "method.options.targets"]
            problems[options[0] if options else METHOD] = nothing
        return Seen(choices=choices, checked=checked, problems=problems, estimate=estimate)

    def _shown(self, typed: Typed, seen: Seen) -> list[Any]:
        """In the order of `shown` in `build`."""
        preset = PRESETS.get(str(typed[PRESET]), HOUSE)
        differs = train_wish.changed(typed, preset)
        return [
            _card(seen.estimate, seen.checked, "Correct what is marked to see what the run takes.", seen, typed),
            render("train_yaml.html", text=self._yaml(seen)),
            *(self._note(key, typed, seen, differs) for key in self.notes),
            *(_field_note(slot, preset, differs, seen.problems) for slot in self.form.slots.values()),
        ]

    def _note(self, key: str, typed: Typed, seen: Seen, differs: frozenset[str]) -> Any:
        problem, choices = seen.problems.get(key), seen.choices
        match key:
            case "base":
                return render(
                    "train_base.html", problem=problem, base=choices.base(typed[BASE]), importing=choices.importing,
                    has_any=bool(choices.bases),
                )  # fmt: skip
            case "data.training_file":
                return render(
                    "train_data.html", problem=problem, file=choices.file(typed[FILE]), has_any=bool(choices.files),
                    hint="Your team's datasets and the samples.",
                )  # fmt: skip
            case "data.validation_file":
                is_used = typed[VALIDATION] == BY_FILE
                file = choices.file(typed[VALIDATION_FILE]) if is_used else None
                hint = "Rows that are never trained on." if is_used else "Not used: a share is held back instead."
                return render("train_data.html", problem=problem, file=file, has_any=True, hint=hint)
            case "preset":
                names = [field.title for field in FIELDS if field.key in differs and field.key != SHARE]
                preset = PRESETS.get(str(typed[PRESET]), HOUSE)
                return render("train_preset.html", preset=preset, changed=names, problem=None)
            case _:
                note = f"Left empty, it is called {self._suggested(typed, choices)}."
                if typed[NAME]:
                    note = "It becomes part of the adapter's name."
                return render("train_note.html", problem=problem, note=note)

    def _yaml(self, seen: Seen) -> str:
        spec = seen.checked.spec
        if spec is None:
            return ""
        base, choices = seen.choices.base(spec.base), seen.choices
        files = [choices.file(file_id) for file_id in (spec.data.training_file, spec.data.validation_file)]
        names = train_yaml.Names(
            base=base.name if base else None,
            training_file=files[0].filename if files[0] else None,
            validation_file=files[1].filename if files[1] else None,
        )
        return train_yaml.write(spec, names)

    def _suggested(self, typed: Typed, choices: TrainingChoices) -> str:
        file = choices.file(typed[FILE])
        return train_wish.suggested_name(typed, file.name if file else None)

    def _first(self, kept: str, me: Member, choices: TrainingChoices, request: gr.Request) -> tuple[Typed, str]:
        """What the form begins with, and its preset. What was typed at this very address wins over its links."""
        typed = train_wish.typed_of(train_wish.spec_of(HOUSE)) | {BASE: _first_base(choices)}
        links = {name: asked(request, name) for name in ("base", "file", "from")}
        draft = _draft(kept, me)
        if draft is not None and (draft["address"].lstrip("?") == str(request.query_params) or not any(links.values())):
            typed |= {key: value for key, value in draft["typed"].items() if key in typed}
            preset = draft["typed"].get(PRESET)
            return typed, preset if preset in PRESETS else HOUSE.name
        if links["from"]:
            typed = train_wish.typed_of(settings_of_run(self.deps, me, links["from"]))
        if (base := choices.base(links["base"])) is not None:
            typed[BASE] = base.id
        if links["file"]:
            typed[FILE] = links["file"]
        return typed, train_wish.preset_of(typed).name

    def _components(self, typed: Typed, choices: TrainingChoices) -> list[Any]:
        """An update for each input, with what can be chosen."""
        may = {"interactive": choices.may_start}
        special = {
            BASE: {"choices": _base_choices(choices)},
            FILE: {"choices": _file_choices(choices)},
            VALIDATION_FILE: {
                "choices": _file_choices(choices),
                "interactive": choices.may_start and typed[VALIDATION] == BY_FILE,
            },
            SHARE: {"interactive": choices.may_start and typed[VALIDATION] != BY_FILE},
        }
        return [gr.update(value=typed[key], **(may | special.get(key, {}))) for key in self.form.keys]


# -- pure parts -------------------------------------------------------------------------------------------------


def _head(me: Member | None, choices: TrainingChoices | None) -> Any:
    missing = None
    if choices is not None and not choices.bases and not choices.importing:
        missing = "A run needs a base model, and none is here yet. An administrator adds one under Base models."
    return render(
        "train_head.html", who=f"{me.user}/{me.team}" if me else "", may_start=choices.may_start if choices else True,
        missing=missing,
    )  # fmt: skip


def _card(
    estimate: Estimate | None, checked: Checked, why: str, seen: Seen | None = None, typed: Typed | None = None
) -> Any:
    remarks: list[str] = list(estimate.remarks) if estimate else []
    spec = checked.spec
    base = seen.choices.base(spec.base) if seen and spec else None
    if spec and base and base.context_length and spec.data.max_length > base.context_length:
        remarks.append(
            f"rows of up to {spec.data.max_length:,} tokens are allowed, but this base reads {base.context_length:,}. "
            "Lower the longest row."
        )
    rate = "as given" if spec and spec.schedule.learning_rate else "by the base's width"
    return render(
        "train_card.html", estimate=estimate, why=why, remarks=[one[:1].upper() + one[1:] for one in remarks],
        has_file=bool(typed and typed[FILE]), rate_from=rate,
    )  # fmt: skip


def _field_note(slot: Slot, preset: Any, differs: frozenset[str], problems: Mapping[str, str]) -> Any:
    key = slot.field.key
    return note_of(
        slot.field, train_wish.default_of(slot.field, preset), problem=problems.get(key),
        changed_from=preset.title if key in differs else None,
    )  # fmt: skip


def _problems(problems: Any, title: str | None = None, *, good: str | None = None) -> Any:
    return render("train_problems.html", problems=problems, title=title, good=good)


def _sides(validation: str) -> list[Any]:
    """Only the chosen way to validate can be typed into."""
    is_file = validation == BY_FILE
    return [gr.update(interactive=is_file), gr.update(interactive=not is_file)]


def _resets(slot: Slot) -> Any:
    def reset(preset: str) -> Any:
        return fields.shown(slot.field, train_wish.default_of(slot.field, PRESETS.get(preset, HOUSE)))

    return reset


def _base_choices(choices: TrainingChoices) -> list[tuple[str, str]]:
    return [(f"{base.name} ({short_number(base.parameters)})", base.id) for base in choices.bases]


def _file_choices(choices: TrainingChoices) -> list[tuple[str, str]]:
    return [(_file_label(file), file.id) for file in choices.files]


def _file_label(file: FileChoice) -> str:
    version = f" v{file.number}" if file.number > 1 or not file.is_newest else ""
    state = {"uploaded": " · not checked yet", "error": " · cannot be used"}.get(file.status, "")
    return f"{file.name}{version}{' · sample' if file.is_sample else ''}{state}"


def _first_base(choices: TrainingChoices) -> str | None:
    return choices.bases[0].id if choices.bases else None


def _gone(typed: Typed, choices: TrainingChoices, *, needs_all: bool) -> dict[str, str]:
    """Sentences for what is chosen but cannot be used."""
    problems = {}
    if typed[BASE] and choices.base(typed[BASE]) is None:
        problems[BASE] = f'There is no base model "{fields.cut(str(typed[BASE]))}" here. Choose one of the list.'
    watched = (FILE, VALIDATION_FILE) if typed[VALIDATION] == BY_FILE else (FILE,)
    for key in watched:
        file = choices.file(typed[key])
        if typed[key] and file is None:
            problems[key] = f'There is no dataset "{fields.cut(str(typed[key]))}" in this team. Choose one of the list.'
        elif needs_all and file is not None and file.status == "error":
            problems[key] = (
                f"{file.name} cannot be used: {file.details} Correct it and upload it again, or choose another."
            )
    return problems


def _known_parts(checked: Checked, choices: TrainingChoices) -> Any:
    """The spec with a base and files that are here, or without: an estimate can do without them."""
    assert checked.spec is not None
    spec = checked.spec
    base = choices.base(spec.base)
    data = spec.data.model_copy(
        update={"training_file": spec.data.training_file if choices.file(spec.data.training_file) else ""}
    )
    return spec.model_copy(update={"base": base.id if base else "", "data": data})


def _with_problem(seen: Seen, error: AppError, typed: Typed) -> Seen:
    """The error beside the field that it names; under the key "" where it names none of this form."""
    key = train_wish.key_of(str(error.facts.get("param") or ""), typed) or ""
    return Seen(
        choices=seen.choices,
        checked=seen.checked,
        problems=seen.problems | {key: error.message},
        estimate=seen.estimate,
    )


def _name_of(key: str) -> str:
    core = {BASE: "Base model", FILE: "Dataset", VALIDATION_FILE: "File to validate with", NAME: "Name"}
    return core.get(key) or BY_KEY[key].title


def _draft(kept: str, me: Member) -> dict[str, Any] | None:
    """What this very person typed in this browser; None for anything else."""
    try:
        draft = json.loads(kept) if len(kept or "") <= LONGEST_DRAFT else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(draft, dict) or draft.get("who") != f"{me.user}/{me.team}":
        return None
    is_whole = isinstance(draft.get("typed"), dict) and isinstance(draft.get("address"), str)
    return draft if is_whole else None


def _find(typed: Typed, names: train_yaml.Names, choices: TrainingChoices, before: Typed) -> list[str]:
    """Puts the base and files of a pasted text into `typed`: by id, else by name. Returns what was not found."""
    lost = []
    base = choices.base(typed[BASE]) or choices.base(names.base)
    if typed[BASE] and base is None:
        lost.append(f'there is no base model "{fields.cut(str(names.base or typed[BASE]))}" here. Choose one.')
    typed[BASE] = base.id if base else before[BASE]
    for key, name in ((FILE, names.training_file), (VALIDATION_FILE, names.validation_file)):
        file = choices.file(typed[key]) or choices.file_named(name)
        if typed[key] and file is None:
            lost.append(f'there is no dataset "{fields.cut(str(name or typed[key]))}" in this team. Choose one.')
        typed[key] = file.id if file else before[key]
    return lost


PAGE = Page(path="/train", title="Train", build=build, place=2)
