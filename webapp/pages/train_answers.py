"""What the Train page answers: each handler reads the form as it was typed and returns what is shown.

Knows the form by its keys, makes no component and wires nothing; the verbs are in `webapp.actions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.domain.access import Member
from models.domain.errors import AppError, Invalid
from models.domain.presets import HOUSE, PRESETS, Preset
from models.domain.training import TrainingSpec
from webapp.actions.estimate_training import Estimate, estimate_training
from webapp.actions.once import request_hash
from webapp.actions.show_training_choices import FileChoice, TrainingChoices, settings_of_run, show_training_choices
from webapp.actions.start_training import start_training
from webapp.deps import Deps
from webapp.pages.wiring import asked, caller
from webapp.views import fields, train_wish, train_yaml
from webapp.views.form import Slot, note_of
from webapp.views.markup import render, short_number
from webapp.views.train_draft import LINKS, draft_of
from webapp.views.train_wish import (
    BASE,
    BY_FILE,
    BY_KEY,
    FIELDS,
    FILE,
    METHOD,
    NAME,
    PRESET,
    SHARE,
    VALIDATION,
    VALIDATION_FILE,
    Checked,
    Typed,
)

AS_YOU_TYPE = "These figures follow the form as you type."
CORRECT_FIRST = "Correct what is marked to see what the run takes."


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

    def typed(self, values: Sequence[Any]) -> Typed:
        return dict(zip(self.keys, values, strict=True))


class Answer:
    """The page's handlers: each reads the form as typed and returns what is shown."""

    def __init__(self, deps: Deps, form: Form, notes: Mapping[str, gr.HTML]) -> None:
        self.deps, self.form, self.notes = deps, form, notes

    def open(self, request: gr.Request, kept: str) -> list[Any]:
        """Fills the form: an earlier run's settings, what was typed here before, or the house default."""
        me = caller(request)
        choices = show_training_choices(self.deps, me)
        links = {name: asked(request, name) for name in LINKS}
        note = None
        try:
            typed = self._first(kept, links, me, choices)
        except AppError as error:  # a link to a run that is not here must not leave an empty page
            typed, note = self._first("", {}, me, choices), error.message
        head = head_of(me, choices, note)
        return [*self._components(typed, choices), head, gr.update(interactive=choices.may_start)]

    def watch(self, request: gr.Request, *values: Any) -> list[Any]:
        """The summary and all notes for what is typed now; the last value says whether a start was refused."""
        *told, tried = values
        typed = self.form.typed(told)
        return self._shown(typed, self._see(typed, caller(request), needs_all=tried))

    def refresh(self, request: gr.Request, *values: Any) -> list[Any]:
        """As `watch`; and while something is awaited (an import, a check), what can be chosen."""
        *told, tried = values
        typed = self.form.typed(told)
        seen = self._see(typed, caller(request), needs_all=tried)
        if seen.choices.bases and seen.choices.files:
            return [gr.skip(), gr.skip(), *self._shown(typed, seen)]
        base = gr.update(choices=_base_choices(seen.choices), value=typed[BASE] or _first_base(seen.choices))
        file = gr.update(choices=_file_choices(seen.choices))
        return [base, file, *self._shown(typed, seen)]

    def paste(self, request: gr.Request, text: str, *values: Any) -> list[Any]:
        """The form as the text says, or why it cannot be; then the form stays as it is."""
        unchanged = [gr.skip() for _ in self.form.keys]
        try:
            pasted = train_yaml.read(text or "")
        except Invalid as error:
            return [*unchanged, said(error.facts["problems"], "The form was left as it is."), gr.skip()]
        choices = show_training_choices(self.deps, caller(request))
        typed = train_wish.typed_of(pasted.spec)
        lost = _find(typed, pasted.names, choices, self.form.typed(values))
        preset = train_wish.preset_of(typed).name
        answer = said(lost, "The form is filled, but:") if lost else said(good="The form is filled.")
        return [*self._components({**typed, PRESET: preset}, choices), answer, "" if not lost else gr.skip()]

    def start(self, request: gr.Request, *values: Any) -> list[Any]:
        """Starts the run and goes to it, or says beside each field what is wrong."""
        me, typed = caller(request), self.form.typed(values)
        seen = self._see(typed, me, needs_all=True)
        if seen.problems or seen.checked.spec is None:
            return self._refused(typed, seen)
        name = seen.checked.spec.suffix or self._suggested(typed, seen.choices)
        spec = seen.checked.spec.model_copy(update={"suffix": name})
        wish = request_hash("train", spec.model_dump(mode="json"), None)
        try:
            job = start_training(self.deps, me, spec, request_hash=wish).job
        except AppError as error:
            return self._refused(typed, _with_problem(seen, error, typed))
        return [f"/run?id={job.id}", said(), False, gr.skip(), *(gr.skip() for _ in self._shown(typed, seen))]

    # -- parts of answers

    def _refused(self, typed: Typed, seen: Seen) -> list[Any]:
        """What was typed stays; the advanced fields open where one of them is at fault."""
        is_advanced = any(key in BY_KEY and key != SHARE for key in seen.problems)
        names = [_name_of(key) for key in seen.problems if key]
        title = f"Not started: look at {', '.join(names)}." if names else "Not started."
        unplaced = [sentence for key, sentence in seen.problems.items() if not key]
        answer = said(unplaced or ["Everything that was typed is still here."], title)
        return ["", answer, True, gr.update(open=True) if is_advanced else gr.skip(), *self._shown(typed, seen)]

    def _see(self, typed: Typed, me: Member, *, needs_all: bool = False) -> Seen:
        """`needs_all` finds a missing base or file as well; the figures do without them."""
        choices = show_training_choices(self.deps, me)
        checked = train_wish.check(typed)
        missing = train_wish.missing(typed) if needs_all else {}
        problems = missing | checked.problems | _gone(typed, choices, needs_all=needs_all)
        seen = Seen(choices=choices, checked=checked, problems=problems, estimate=None)
        if checked.spec is None:
            return seen
        try:
            estimate = estimate_training(self.deps, me, _known_parts(checked.spec, choices))
        except AppError as error:
            return _with_problem(seen, error, typed)
        if estimate.trainable == 0:
            nothing = "Nothing would be trained with these settings: the base has no such layers. Choose other layers."
            options = [field.key for field in FIELDS if field.path == "method.options.targets"]
            problems[options[0] if options else METHOD] = nothing
        return replace(seen, estimate=estimate)

    def _shown(self, typed: Typed, seen: Seen) -> list[Any]:
        """In the order of `shown` in `build`."""
        preset = PRESETS.get(str(typed[PRESET]), HOUSE)
        differs = train_wish.changed(typed, preset)
        return [
            card_of(seen, typed),
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

    def _first(self, kept: str, links: Mapping[str, str], me: Member, choices: TrainingChoices) -> Typed:
        """What the form begins with. What was typed at this very address wins over its links."""
        draft = draft_of(kept, who_is(me))
        if draft is not None and (not any(links.values()) or draft.links == links):
            return draft.typed | {BASE: draft.typed[BASE] or _first_base(choices)}
        typed = train_wish.typed_of(train_wish.spec_of(HOUSE)) | {BASE: _first_base(choices)}
        if links.get("from"):
            typed = train_wish.typed_of(settings_of_run(self.deps, me, links["from"]))
        if links.get("base"):
            base = choices.base(links["base"])
            typed[BASE] = base.id if base else links["base"]  # an unknown one is said beside the field
        if links.get("file"):
            typed[FILE] = links["file"]
        return typed | {PRESET: train_wish.preset_of(typed).name}

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


def head_of(me: Member | None = None, choices: TrainingChoices | None = None, note: str | None = None) -> Markup:
    """The title and one sentence; `note` where something about this address has to be said."""
    if choices is not None and not choices.bases and not choices.importing:
        note = "A run needs a base model, and none is here yet. An administrator adds one under Base models."
    return render(
        "train_head.html", who=who_is(me) if me else "", may_start=choices.may_start if choices else True,
        note=note,
    )  # fmt: skip


def who_is(me: Member) -> str:
    """Whose draft it is: what one person typed in one team."""
    return f"{me.user}/{me.team}"


def card_of(seen: Seen | None, typed: Typed | None = None) -> Markup:
    """The summary. `seen` is None before the form is filled."""
    estimate = seen.estimate if seen else None
    spec = seen.checked.spec if seen else None
    base = seen.choices.base(spec.base) if seen and spec else None
    remarks = list(estimate.remarks) if estimate else []
    if spec and base and base.context_length and spec.data.max_length > base.context_length:
        remarks.append(
            f"rows of up to {spec.data.max_length:,} tokens are allowed, but this base reads {base.context_length:,}. "
            "Lower the longest row."
        )
    return render(
        "train_card.html",
        estimate=estimate,
        share=_percent(estimate.share) if estimate and estimate.share is not None else "",
        wanted="choose a base model" if estimate else "",
        has_file=bool(typed and typed[FILE]),
        rate_from="as given" if spec and spec.schedule.learning_rate else "by the base's width",
        remarks=[one[:1].upper() + one[1:] for one in remarks],
        why=AS_YOU_TYPE if seen is None or estimate else CORRECT_FIRST,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _field_note(slot: Slot, preset: Preset, differs: frozenset[str], problems: Mapping[str, str]) -> Any:
    key = slot.field.key
    return note_of(
        slot.field, train_wish.default_of(slot.field, preset), problem=problems.get(key),
        changed_from=preset.title if key in differs else None,
    )  # fmt: skip


def said(problems: Sequence[str] = (), title: str | None = None, *, good: str | None = None) -> Markup:
    return render("train_problems.html", problems=problems, title=title, good=good)


def sides(validation: str) -> list[Any]:
    """Only the chosen way to validate can be typed into."""
    is_file = validation == BY_FILE
    return [gr.update(interactive=is_file), gr.update(interactive=not is_file)]


def choose_preset(form: Form) -> Any:
    def fill(*values: Any) -> list[Any]:
        typed = form.typed(values)
        typed = train_wish.fill(typed, PRESETS.get(str(typed[PRESET]), HOUSE))
        return [typed[key] for key in form.slots]

    return fill


def show_options_of(slots: Sequence[Slot]) -> Any:
    """Only the chosen method's options stand on the page."""

    def show(method: str) -> Any:
        shown = [gr.update(visible=slot.field.key.partition(".")[0] == method) for slot in slots]
        return shown if len(shown) != 1 else shown[0]  # Gradio takes a list of one for the value itself

    return show


def resets(slot: Slot) -> Any:
    def reset(preset: str) -> Any:
        return fields.shown(slot.field, train_wish.default_of(slot.field, PRESETS.get(str(preset), HOUSE)))

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


def _known_parts(spec: TrainingSpec, choices: TrainingChoices) -> TrainingSpec:
    """The spec with a base and files that are here, or without: an estimate can do without them."""
    base = choices.base(spec.base)
    data = spec.data.model_copy(
        update={"training_file": spec.data.training_file if choices.file(spec.data.training_file) else ""}
    )
    return spec.model_copy(update={"base": base.id if base else "", "data": data})


def _with_problem(seen: Seen, error: AppError, typed: Typed) -> Seen:
    """The error beside the field that it names; under the key "" where it names none of this form."""
    key = train_wish.key_of(str(error.facts.get("param") or ""), typed) or ""
    sentence = error.message[:1].upper() + error.message[1:]
    return replace(seen, problems=seen.problems | {key: sentence})


def _name_of(key: str) -> str:
    core = {BASE: "Base model", FILE: "Dataset", VALIDATION_FILE: "File to validate with", NAME: "Name"}
    return core.get(key) or BY_KEY[key].title


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
