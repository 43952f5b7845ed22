"""What the Train page's answers are made of, looked up once per event: choices, the spec, its faults, its figures."""

from dataclasses import dataclass, replace

from models.domain.access import Member
from models.domain.errors import AppError
from models.domain.objectives import misfit
from models.domain.reports import Length
from models.domain.training import TrainingSpec
from webapp.actions.data_reports import StageState
from webapp.actions.estimate_training import Estimate, estimate_training
from webapp.actions.show_training_choices import TrainingChoices, show_training_choices
from webapp.actions.token_counts import files_of
from webapp.deps import Deps
from webapp.views import fields, lengths, train_mix, train_wish
from webapp.views.train_wish import (
    BASE,
    BY_FILE,
    FIELDS,
    FILE,
    METHOD,
    VALIDATION,
    VALIDATION_FILE,
    Checked,
    Typed,
    objective_of,
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """`problems` are sentences by the key of their field, under "" where they have none."""

    choices: TrainingChoices
    checked: Checked
    problems: dict[str, str]
    estimate: Estimate | None

    @property
    def must_count(self) -> bool:
        """Nobody has counted the tokens of some source for this base, and nobody is at it."""
        counted = self.estimate.counted if self.estimate else ()
        return any(one.state is StageState.NONE for one in counted)

    @property
    def lengths(self) -> tuple[Length, ...]:
        """Of all sources together; empty until each of them is counted."""
        counted = self.estimate.counted if self.estimate else ()
        reports = [one.report for one in counted if one.report is not None]
        if not reports or len(reports) < len(counted):
            return ()
        return reports[0].lengths if len(reports) == 1 else lengths.together(report.lengths for report in reports)

    @property
    def percentile_99(self) -> int | None:
        """As a longest row that the field and the base take; None until the tokens are counted."""
        spec = self.checked.spec
        if not self.lengths or spec is None:
            return None
        base = self.choices.base(spec.base)
        most = base.context_length if base and base.context_length else 131_072
        return max(16, min(lengths.percentile(self.lengths, 99), most))


def look(deps: Deps, me: Member, typed: Typed, *, needs_all: bool = False) -> Seen:
    """`needs_all` finds a missing base or file as well; the figures do without them."""
    choices = show_training_choices(deps, me)
    checked = train_wish.check(typed)
    missing = train_wish.missing(typed) if needs_all else {}
    problems = missing | checked.problems | _gone(typed, choices, needs_all=needs_all)
    seen = Seen(choices=choices, checked=checked, problems=problems, estimate=None)
    if checked.spec is None:
        return seen
    try:
        estimate = estimate_training(deps, me, known_parts(checked.spec, choices))
    except AppError as error:
        return with_problem(seen, error, typed)
    if estimate.trainable == 0:
        nothing = "Nothing would be trained with these settings: the base has no such layers. Choose other layers."
        options = [field.key for field in FIELDS if field.path == "method.options.targets"]
        problems[options[0] if options else METHOD] = nothing
    return replace(seen, estimate=estimate)


def known_parts(spec: TrainingSpec, choices: TrainingChoices) -> TrainingSpec:
    """The spec with a base and files that are here, or without: an estimate can do without them."""
    base = choices.base(spec.base)
    is_known = all(choices.file(file) for file in files_of(spec.data))
    data = spec.data.model_copy(update={"training_file": spec.data.training_file if is_known else ""})
    return spec.model_copy(update={"base": base.id if base else "", "data": data})


def with_problem(seen: Seen, error: AppError, typed: Typed) -> Seen:
    """The error beside the field that it names; under the key "" where it names none of this form."""
    key = train_wish.key_of(str(error.facts.get("param") or ""), typed) or ""
    sentence = error.message[:1].upper() + error.message[1:]
    return replace(seen, problems=seen.problems | {key: sentence})


def _gone(typed: Typed, choices: TrainingChoices, *, needs_all: bool) -> dict[str, str]:
    """Sentences for what is chosen but cannot be used."""
    problems = {}
    if typed[BASE] and choices.base(typed[BASE]) is None:
        problems[BASE] = f'There is no base model "{fields.cut(str(typed[BASE]))}" here. Choose one of the list.'
    watched = (FILE, VALIDATION_FILE) if typed[VALIDATION] == BY_FILE else (FILE,)
    for key in (*watched, *train_mix.FILES):
        file = choices.file(typed[key])
        if typed[key] and file is None:
            problems[key] = f'There is no dataset "{fields.cut(str(typed[key]))}" in this team. Choose one of the list.'
        elif needs_all and file is not None and file.status == "error":
            problems[key] = (
                f"{file.name} cannot be used: {file.details} Correct it and upload it again, or choose another."
            )
        elif file is not None and (held := misfit(file.kinds, objective_of(typed))) is not None:
            problems[key] = f"{file.name} {held}"
    return problems
