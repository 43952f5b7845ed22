"""What stands around the Train page's fields for what is typed: the summary, a note below each. Asks nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.catalog.findings import Weight, words_of
from models.catalog.methods import METHODS
from models.catalog.rates import recommended_of, recommended_rate, with_rate_of_rows
from models.domain.access import Member
from models.domain.objectives import hold_only_texts
from models.domain.presets import HOUSE
from models.domain.training import TrainingSpec
from webapp.actions.data_reports import StageState, TokensSeen
from webapp.actions.show_training_choices import TrainingChoices
from webapp.actions.token_counts import files_of
from webapp.pages.preset_menu import chosen, note_of_preset
from webapp.pages.train_form import Form
from webapp.pages.train_seen import Seen
from webapp.views import lengths, train_mix, train_wish, train_yaml
from webapp.views.fields import Field
from webapp.views.form import note_of
from webapp.views.markup import number, render
from webapp.views.train_wish import BY_FILE, FILE, METHOD, NAME, PRESET, VALIDATION, VALIDATION_FILE, Typed

AS_YOU_TYPE = "These figures follow the form as you type."
BEFORE_NOTES = 2  # the summary and the YAML
CORRECT_FIRST = "Correct what is marked to see what the run takes."


def shown(form: Form, notes: Sequence[str], typed: Typed, seen: Seen) -> list[Any]:
    """In the order of `shown` in `build`: summary, YAML, the notes of `notes`, those of the fields, the percentile."""
    preset = chosen(seen.choices, typed[PRESET])
    differs, default = train_wish.changed(typed, preset), train_wish.defaults_of(preset)
    return [
        card_of(seen, typed),
        render("train_yaml.html", text=_yaml(seen)),
        *(_note(key, typed, seen) for key in notes),
        *(
            note_of(
                _told_of(slot.field, typed),
                default[key],
                problem=seen.problems.get(key),
                changed_from=preset.title if key in differs else None,
            )
            for key, slot in form.slots.items()
        ),
        gr.update(interactive=seen.percentile_99 is not None and seen.choices.may_start),
        render("train_note.html", note=_percentile_note(seen), problem=None),
    ]


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
    tokens = estimate.tokens if estimate else None
    if spec and base and base.context_length and spec.data.max_length > base.context_length:
        remarks.append(
            f"rows of up to {spec.data.max_length:,} tokens are allowed, but this base reads {base.context_length:,}. "
            "Lower the longest row."
        )
    if tokens and not tokens.sequences:
        remarks.append("with these settings no row is left to train on. Raise the longest row.")
    return render(
        "train_card.html",
        estimate=estimate,
        share=_percent(estimate.share) if estimate and estimate.share is not None else "",
        wanted="choose a base model" if estimate else "",
        has_file=bool(typed and typed[FILE]),
        may_start=bool(seen and seen.choices.may_start),
        rate_from="as given" if spec and spec.schedule.learning_rate else _reason(seen),
        tokens=tokens,
        trained_share=_percent(tokens.trained_tokens / tokens.tokens) if tokens and tokens.tokens else "",
        over_long=_over_long(seen) if seen and tokens else "",
        lengths=lengths.histogram(seen.lengths, max_length=spec.data.max_length) if seen and spec else "",
        counting=_counting(estimate.counted) if estimate else None,
        remarks=[one[:1].upper() + one[1:] for one in remarks],
        why=AS_YOU_TYPE if seen is None or estimate else CORRECT_FIRST,
    )


def _reason(seen: Seen | None) -> str:
    """Where the recommended learning rate comes from."""
    spec = seen.checked.spec if seen else None
    if seen is None or spec is None:
        return recommended_rate(HOUSE.method.name, 1).reason
    return recommended_of(spec, 1, are_texts=_are_texts(seen.choices, spec)).reason


def _are_texts(choices: TrainingChoices, spec: TrainingSpec) -> bool:
    found = [choices.file(file) for file in files_of(spec.data)]
    return hold_only_texts([file.kinds if file else {} for file in found])


def said(problems: Sequence[str] = (), title: str | None = None, *, good: str | None = None) -> Markup:
    return render("train_problems.html", problems=problems, title=title, good=good)


def suggested_name(typed: Typed, choices: TrainingChoices) -> str:
    file = choices.file(typed[FILE])
    return train_wish.suggested_name(typed, file.name if file else None)


# -- the card ---------------------------------------------------------------------------------------------------


def _over_long(seen: Seen) -> str:
    """How many sequences are longer than allowed, and what becomes of them."""
    spec, tokens = seen.checked.spec, seen.estimate.tokens if seen.estimate else None
    if spec is None or tokens is None or not tokens.too_long:
        return ""
    are = "is" if tokens.too_long == 1 else "are"
    becomes = {"drop": "left out", "drop_oldest_turns": "shortened or left out", "split_text": "cut, or left out"}
    return (
        f"{number(tokens.too_long)} of {number(tokens.counted)} sequences {are} longer than "
        f"{number(spec.data.max_length)} tokens: {becomes[spec.data.over_long]}"
    )


def _counting(counted: Sequence[TokensSeen]) -> str | None:
    """How far the counts are, in words; None where nothing is counted or all is."""
    failed = next((one for one in counted if one.state is StageState.FAILED), None)
    if failed is not None:
        return f"not counted: {failed.sentence}"
    at_work = [one for one in counted if one.state in (StageState.NONE, StageState.WAITING, StageState.RUNNING)]
    if not at_work:
        return None
    share = at_work[0].progress
    return f"counting tokens … {share:.0%}" if share else "counting tokens …"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


# -- the notes --------------------------------------------------------------------------------------------------


def _note(key: str, typed: Typed, seen: Seen) -> Any:
    problem, choices = seen.problems.get(key), seen.choices
    if key in train_mix.FILES:
        place = train_mix.FILES.index(key)
        return render(
            "train_mixed.html", id=typed[key], file=choices.file(typed[key]), warnings=_warnings(seen, place + 1),
            problem=problem or seen.problems.get(train_mix.WEIGHTS[place]),
            rows=_trained(seen, place + 1),
        )  # fmt: skip
    match key:
        case "base":
            return render(
                "train_base.html", problem=problem, base=choices.base(typed[key]), importing=choices.importing,
                has_any=bool(choices.bases),
            )  # fmt: skip
        case "data.training_file":
            return render(
                "train_data.html", problem=problem, file=choices.file(typed[FILE]), has_any=bool(choices.files),
                hint="Your team's datasets and the samples.", warnings=_warnings(seen, 0),
            )  # fmt: skip
        case "data.validation_file":
            is_used = typed[VALIDATION] == BY_FILE
            file = choices.file(typed[VALIDATION_FILE]) if is_used else None
            hint = "Rows that are never trained on." if is_used else "Not used: a share is held back instead."
            return render("train_data.html", problem=problem, file=file, has_any=True, hint=hint, warnings=())
        case "preset":
            return note_of_preset(typed, choices)
        case _:
            note = f"Left empty, it is called {suggested_name(typed, choices)}."
            if typed[NAME]:
                note = "It becomes part of the adapter's name."
            return render("train_note.html", problem=problem, note=note)


def _warnings(seen: Seen, place: int) -> list[str]:
    """What this base's template does to the rows of a source, as far as somebody should look at it."""
    counted = seen.estimate.counted if seen.estimate else ()
    report = counted[place].report if place < len(counted) else None
    if report is None:
        return []
    sentences = []
    for finding in report.findings:
        words = words_of(finding.kind)
        if words.weight is not Weight.NOTE:
            becomes = " They are left out." if words.weight.is_error and finding.count > 1 else ""
            becomes = " It is left out." if words.weight.is_error and finding.count == 1 else becomes
            rows = "row" if finding.count == 1 else "rows"
            sentences.append(f"{words.title}: {number(finding.count)} {rows}.{becomes}")
    return sentences


def _trained(seen: Seen, place: int) -> int | None:
    """How many rows of this source an epoch shows."""
    counts = seen.estimate.counts if seen.estimate else None
    return counts.trained[place] if counts and place < len(counts.trained) else None


def _told_of(field: Field, typed: Typed) -> Field:
    """The method's own field says when to choose the chosen one."""
    method = METHODS.get(str(typed[METHOD])) if field.key == METHOD else None
    return field if method is None else replace(field, help=method.description)


def _percentile_note(seen: Seen) -> str:
    """What the button beside the longest row would set, or why it cannot yet."""
    if seen.percentile_99 is not None:
        found = lengths.percentile(seen.lengths, 99)
        reads = f"; this base reads up to {number(seen.percentile_99)}" if found > seen.percentile_99 else ""
        return f"99 % of the sequences have up to {number(found)} tokens{reads}."
    counted = seen.estimate.counted if seen.estimate else ()
    if any(one.state is StageState.FAILED for one in counted):
        return "The tokens could not be counted; the summary says why."
    return "The tokens are being counted." if counted else "Known when the tokens of a checked dataset are counted."


def _yaml(seen: Seen) -> str:
    spec = seen.checked.spec
    if spec is None:
        return ""
    spec = with_rate_of_rows(spec, are_texts=_are_texts(seen.choices, spec))
    base, choices = seen.choices.base(spec.base), seen.choices
    mixed = [choices.file(each.file) for each in spec.data.rows.mixed]
    files = [choices.file(file_id) for file_id in (spec.data.training_file, spec.data.validation_file)]
    names = train_yaml.Names(
        base=base.name if base else None,
        training_file=files[0].filename if files[0] else None,
        validation_file=files[1].filename if files[1] else None,
        mixed=tuple(file.filename if file else "" for file in mixed),
    )
    return train_yaml.write(spec, names)
