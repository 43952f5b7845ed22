"""Which presets the Train page offers, which one is chosen, and what is said of it. Makes and changes nothing."""

from markupsafe import Markup

from models.domain.errors import Invalid
from models.domain.presets import HOUSE, PRESETS, AnyPreset, KeptPreset
from webapp.actions.presets import PresetSeen, read_settings
from webapp.actions.show_training_choices import TrainingChoices
from webapp.views import train_wish
from webapp.views.markup import render
from webapp.views.train_wish import FIELDS, PRESET, Typed

AGAIN = "train-presets-again"  # the hidden button that a call of the page's own script clicks when it is done


def menu(choices: TrainingChoices | None = None) -> list[tuple[str, str]]:
    """What is on a button, and what the form holds for it: the built-in ones, one's own, the team's."""
    built_in = [(preset.title, name) for name, preset in PRESETS.items()]
    return built_in + [(_label(seen), seen.id) for seen in (choices.presets if choices else ())]


def chosen(choices: TrainingChoices, key: object) -> AnyPreset:
    """The preset of this name or id; the house default where there is none or where it cannot be used any more."""
    seen = choices.preset(str(key))
    try:
        return kept(seen) if seen else PRESETS.get(str(key), HOUSE)
    except Invalid:
        return HOUSE


def preset_of(choices: TrainingChoices, typed: Typed) -> str:
    """The key of the preset whose settings these are: a built-in one first; else the house default's."""
    for key in (*PRESETS, *(seen.id for seen in choices.presets)):
        preset = chosen(choices, key)
        if preset.name == key and not train_wish.changed(typed, preset):
            return key
    return HOUSE.name


def note_of_preset(typed: Typed, choices: TrainingChoices) -> Markup:
    """What the chosen one is, what differs from it, and what can be done with it."""
    key, preset = str(typed[PRESET]), chosen(choices, typed[PRESET])
    seen, problem = choices.preset(key), None
    if seen is None and key not in PRESETS:
        problem = "This preset is gone; what it set is still in the form. Choose another one."
    if seen is not None and preset.name != key:
        problem = f"{seen.name} no longer fits this version: {_faults(seen)} The form was left as it is."
    differs = train_wish.changed(typed, preset)
    names = [field.title for field in FIELDS if field.key in differs and not train_wish.is_about_rows(field)]
    return render("train_preset.html", preset=preset, changed=names, problem=problem, kept=seen, again=AGAIN)


def kept(seen: PresetSeen) -> KeptPreset:
    return KeptPreset(name=seen.id, title=seen.name, description=_whose(seen), spec=read_settings(seen.settings))


def _whose(seen: PresetSeen) -> str:
    if not seen.is_mine:
        return f"Shared with the team by {seen.author or 'somebody who left'}."
    return "Yours, shared with the team." if seen.is_shared else "Yours; nobody else sees it."


def _label(seen: PresetSeen) -> str:
    return seen.name if seen.is_mine else f"{seen.name} · {(seen.author or 'the team').partition('@')[0]}"


def _faults(seen: PresetSeen) -> str:
    try:
        read_settings(seen.settings)
    except Invalid as error:
        return error.message
    return ""
