"""What the Train page answers: each handler reads the form as it was typed and returns what is shown.

Knows the form by its keys, makes no component and wires nothing; the verbs are in `webapp.actions`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from models.catalog.training_memory import with_setting
from models.domain.access import Member
from models.domain.errors import AppError, Invalid
from models.domain.presets import HOUSE
from webapp.actions.continuing import settings_to_continue
from webapp.actions.show_training_choices import TrainingChoices, settings_of_run, show_training_choices
from webapp.actions.token_counts import ask_counts
from webapp.deps import Deps
from webapp.pages.preset_menu import chosen, menu, preset_of
from webapp.pages.told import Told, digests, what_changed
from webapp.pages.train_form import Form, base_choices, file_choices, first_base
from webapp.pages.train_seen import Seen, known_parts, look, with_problem
from webapp.pages.train_shown import BEFORE_NOTES, head_of, said, shown, suggested_name, who_is
from webapp.pages.train_sweep import started
from webapp.pages.wiring import asked, caller
from webapp.views import fields, train_mix, train_wish, train_yaml
from webapp.views.train_draft import LINKS, draft_of
from webapp.views.train_wish import (
    BASE,
    BY_KEY,
    FILE,
    MAX_LENGTH,
    NAME,
    PRESET,
    SHARE,
    VALIDATION_FILE,
    Typed,
)


class Answer:
    """The page's handlers: each reads the form as typed and returns what is shown. `notes` are the keys of notes."""

    def __init__(self, deps: Deps, form: Form, notes: Sequence[str]) -> None:
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
        head, may = head_of(me, choices, note), choices.may_start
        mixer = gr.update(choices=file_choices(choices), interactive=may)
        return [*self.form.filled(typed, choices), mixer, head, gr.update(interactive=may)]

    def watch(self, request: gr.Request, *values: Any) -> list[Any]:
        """The summary and the notes for what is typed now, as far as they changed.

        The last values say whether a start was refused, and what was shown before.
        """
        *written, tried, told = values
        me, typed = caller(request), self.form.typed(written)
        seen = look(self.deps, me, typed, needs_all=tried)
        spec = seen.checked.spec
        # What is chosen is counted at once; what is typed letter by letter, once it stands for a while (`refresh`).
        if seen.must_count and spec is not None and not spec.data.template_arguments:
            self._count(me, seen)
        return self._changed(told, typed, seen)

    def refresh(self, request: gr.Request, *values: Any) -> list[Any]:
        """As `watch`; and while something is awaited (an import, a check), what can be chosen.

        The last but one is the way of writing at the refresh before: one that stands since then is counted.
        """
        *written, tried, before, told = values
        me, typed = caller(request), self.form.typed(written)
        seen = look(self.deps, me, typed, needs_all=tried)
        now = _way_of_writing(seen)
        if seen.must_count and now == before:
            self._count(me, seen)
        if seen.choices.bases and seen.choices.files:
            return [now, gr.skip(), gr.skip(), *self._changed(told, typed, seen)]
        base = gr.update(choices=base_choices(seen.choices), value=typed[BASE] or first_base(seen.choices))
        file = gr.update(choices=file_choices(seen.choices))
        return [now, base, file, *self._changed(told, typed, seen)]

    def percentile(self, request: gr.Request, *values: Any) -> Any:
        """The longest row that 99 % of the sequences do not exceed; as it was where that is not known."""
        typed = self.form.typed(values)
        found = look(self.deps, caller(request), typed).percentile_99
        return typed[MAX_LENGTH] if found is None else fields.shown(BY_KEY[MAX_LENGTH], found)

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
        preset = preset_of(choices, typed)
        answer = said(lost, "The form is filled, but:") if lost else said(good="The form is filled.")
        return [*self.form.filled({**typed, PRESET: preset}, choices), answer, "" if not lost else gr.skip()]

    def cure(self, place: int) -> Any:
        """Makes one of the changes with which the run would fit, as the summary lists them."""

        def change(request: gr.Request, *values: Any) -> list[Any]:
            me, typed = caller(request), self.form.typed(values)
            seen = look(self.deps, me, typed)
            spec, cures = seen.checked.spec, seen.estimate.cures if seen.estimate else ()
            if spec is None or place >= len(cures):
                return [gr.skip() for _ in values]
            wish = with_setting(spec, cures[place].path, cures[place].value)
            key = train_wish.key_of(cures[place].path, typed)
            now = train_wish.typed_of(wish)
            return [gr.update(value=now[each]) if each == key else gr.skip() for each in self.form.keys]

        return change

    def start(self, request: gr.Request, *values: Any) -> list[Any]:
        """Starts the run and goes to it, or says beside each field what is wrong."""
        me, typed = caller(request), self.form.typed(values)
        seen = look(self.deps, me, typed, needs_all=True)
        if seen.problems or seen.checked.spec is None:
            return self._refused(typed, seen)
        name = seen.checked.spec.suffix or suggested_name(typed, seen.choices)
        spec = seen.checked.spec.model_copy(update={"suffix": name})
        try:
            path = started(self.deps, me, spec, typed)
        except AppError as error:
            return self._refused(typed, with_problem(seen, error, typed))
        kept = (gr.skip() for _ in shown(self.form, self.notes, typed, seen))
        return [path, said(), False, gr.skip(), gr.skip(), *kept]

    # -- parts of answers

    def _changed(self, told: Told | None, typed: Typed, seen: Seen) -> list[Any]:
        """What is told now, and of the parts those that changed; the note of the preset has other writers."""
        parts = shown(self.form, self.notes, typed, seen)
        now, changed = what_changed(told, parts, always=[BEFORE_NOTES + self.notes.index(PRESET)])
        return [now, *changed]

    def _refused(self, typed: Typed, seen: Seen) -> list[Any]:
        """What was typed stays; the advanced fields open where one of them is at fault."""
        is_advanced = any(key in BY_KEY and key != SHARE for key in seen.problems)
        names = list(dict.fromkeys(_name_of(key) for key in seen.problems if key))
        title = f"Not started: look at {', '.join(names)}." if names else "Not started."
        unplaced = [sentence for key, sentence in seen.problems.items() if not key]
        answer = said(unplaced or ["Everything that was typed is still here."], title)
        opens = gr.update(open=True) if is_advanced else gr.skip()
        parts = shown(self.form, self.notes, typed, seen)
        return ["", answer, True, opens, digests(parts), *parts]

    def _count(self, me: Member, seen: Seen) -> None:
        if seen.checked.spec is not None and seen.choices.may_start:
            ask_counts(self.deps, me, known_parts(seen.checked.spec, seen.choices))

    def _first(self, kept: str, links: Mapping[str, str], me: Member, choices: TrainingChoices) -> Typed:
        """What the form begins with. What was typed at this very address wins over its links."""
        draft = draft_of(kept, who_is(me))
        if draft is not None and (not any(links.values()) or draft.links == links):
            typed = draft.typed | {BASE: draft.typed[BASE] or first_base(choices)}
            is_there = typed[PRESET] in [key for _, key in menu(choices)]
            return typed if is_there else typed | {PRESET: preset_of(choices, typed)}
        typed = train_wish.typed_of(train_wish.spec_of(HOUSE)) | {BASE: first_base(choices)}
        if links.get("from"):
            typed = train_wish.typed_of(settings_of_run(self.deps, me, links["from"]))
            typed |= {NAME: ""} if links.get("change") else {}  # a clone gets a name of its own
        if links.get("adapter"):
            typed = train_wish.typed_of(settings_to_continue(self.deps, me, links["adapter"]))
        if links.get("base"):
            base = choices.base(links["base"])
            typed[BASE] = base.id if base else links["base"]  # an unknown one is said beside the field
        if links.get("file"):
            typed[FILE] = links["file"]
        if key := links.get("preset"):
            return train_wish.fill(typed, chosen(choices, key)) | {PRESET: key}  # one that is gone is said beside it
        return typed | {PRESET: preset_of(choices, typed)}


def _way_of_writing(seen: Seen) -> str:
    """What a count of tokens depends on beside the files."""
    spec = seen.checked.spec
    return json.dumps([spec.base, spec.data.train_on, spec.data.template_arguments]) if spec else ""


def _name_of(key: str) -> str:
    core = {BASE: "Base model", FILE: "Dataset", VALIDATION_FILE: "File to validate with", NAME: "Name"}
    core |= dict.fromkeys(train_mix.KEYS, "Mixed in")
    return core.get(key) or BY_KEY[key].title


def _find(typed: Typed, names: train_yaml.Names, choices: TrainingChoices, before: Typed) -> list[str]:
    """Puts the base and files of a pasted text into `typed`: by id, else by name. Returns what was not found."""
    lost = []
    base = choices.base(typed[BASE]) or choices.base(names.base)
    if typed[BASE] and base is None:
        lost.append(f'there is no base model "{fields.cut(str(names.base or typed[BASE]))}" here. Choose one.')
    typed[BASE] = base.id if base else before[BASE]
    mixed = zip(train_mix.FILES, names.mixed, strict=False)
    for key, name in ((FILE, names.training_file), (VALIDATION_FILE, names.validation_file), *mixed):
        file = choices.file(typed[key]) or (choices.file_named(name) if typed[key] else None)
        if typed[key] and file is None:
            lost.append(f'there is no dataset "{fields.cut(str(name or typed[key]))}" in this team. Choose one.')
        typed[key] = file.id if file else typed[key] if key in train_mix.FILES else before[key]
    return lost
