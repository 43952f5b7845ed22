"""The line above the form of a cloned run: what it is a copy of, what people mostly change, and what is changed."""

from markupsafe import Markup

from models.domain.training import TrainingSpec
from webapp.views import fields, train_wish
from webapp.views.form import anchor
from webapp.views.markup import render
from webapp.views.train_wish import BASE, FIELDS, FILE, Typed

OFTEN = (
    "schedule.learning_rate", "method.options.rank", "method.options.targets", "schedule.epochs", "quantisation",
    "schedule.seed",
)  # fmt: skip


def line(run: str, was: TrainingSpec, typed: Typed) -> Markup:
    """`was` are the settings of the run, `typed` what the form holds now."""
    used = [field for field in FIELDS if train_wish.is_in_use(field, typed)]
    often = [next((field for field in used if field.path == path), None) for path in OFTEN]
    return render(
        "train_clone.html", run=run, name=was.suffix or "a run",
        often=[(field.title, anchor(field)) for field in often if field is not None], changes=changes(was, typed),
    )  # fmt: skip


def changes(was: TrainingSpec, typed: Typed) -> list[tuple[str, str, str]]:
    """(what, before, now) in the words of the form; base and rows without their ids."""
    before = train_wish.typed_of(was)
    found = [
        (title, "another", "the one chosen")
        for key, title in ((BASE, "Base model"), (FILE, "Dataset"))
        if typed.get(key) and typed[key] != before[key]
    ]
    for field in FIELDS:
        one, other = fields.told(field, before[field.key]), fields.told(field, typed.get(field.key))
        if train_wish.is_in_use(field, typed) and not fields.is_same(one, other):
            found.append((field.title, fields.in_words(field, one), _shown(field, other)))
    return found


def _shown(field: fields.Field, value: object) -> str:
    try:
        return fields.in_words(field, value)
    except (TypeError, ValueError):
        return fields.cut(str(value))
