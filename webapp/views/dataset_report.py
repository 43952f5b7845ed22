"""The report of one dataset version as HTML: its rows, what is alike in them, and how a base model reads them. Pure."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from markupsafe import Markup

from models.domain.dataset import CheckState
from models.domain.reading import Reading
from models.domain.reports import GateReport, IntakeReport, TokenReport
from webapp.views import lengths
from webapp.views.dataset_findings import FindingSeen, findings_seen
from webapp.views.dataset_preview import Looking
from webapp.views.dataset_words import Chip, check_chip, format_title, share_words
from webapp.views.markup import number, render

State = Literal["none", "waiting", "running", "done", "failed"]
KIND_WORDS = {
    "conversation": ("conversation", "conversations"),
    "text": ("text", "texts"),
    "preference": ("pair of answers", "pairs of answers"),
    "labelled": ("judged answer", "judged answers"),
}
SURE = 0.995  # from here on nobody needs to be told what else it might have been


def report_part(
    here: str, shown: Any, reports: Any, bases: Sequence[Any], looking: Looking, *, may_add: bool, may_train: bool
) -> Markup:
    """`reports` as the action `reports_of` returns them; `here` is the dataset's address, `bases` have id and name."""
    intake: IntakeReport | None = reports.intake
    counted = chosen_tokens(reports, looking.base_id)
    check = shown.check
    return render(
        "dataset_report.html",
        here=here,
        stages=_stages(shown, reports, counted),
        is_moving=check.state.is_moving,
        is_usable=check.state.is_usable,
        is_unchecked=check.state is CheckState.NOT_CHECKED,
        again=Reading.model_validate(shown.version.reading or {}).model_dump_json(),
        share=check.share,
        may_add=may_add,
        file_id=shown.version.id,
        intake=intake,
        bad=intake.rows - intake.usable_rows if intake else 0,
        share_usable=share_words(intake.usable_rows / intake.rows) if intake and intake.rows else None,
        format=format_title(intake.format) if intake else None,
        how_sure=_how_sure(intake) if intake else "",
        kinds=_kinds(intake) if intake else "",
        problems=findings_seen(intake.problems) if intake else [],
        gate=_gate_part(here, shown, reports.gate, may_run=may_train),
        tokens=_tokens_part(here, shown, reports, counted, bases, looking, may_run=may_train),
    )


def chosen_tokens(reports: Any, base_id: str | None) -> Any | None:
    """The newest count for this base; one on its way or failed only where none is there. None: nobody asked yet."""
    mine = [each for each in reports.tokens if each.base == base_id]
    made = [each for each in mine if each.report]
    return (made or mine or [None])[-1]


def is_on_its_way(reports: Any, base_id: str | None) -> bool:
    """Whether to ask again: something of this report is still being made."""
    counted = chosen_tokens(reports, base_id)
    states = [reports.gate.state, counted.state if counted else "none"]
    return any(state in ("waiting", "running") for state in states)


def _stages(shown: Any, reports: Any, counted: Any | None) -> list[dict[str, Any]]:
    chip = check_chip(shown.check, shown.version.rows, shown.version.usable_rows)
    gate = reports.gate
    alike = _alike_chip(gate.report) if gate.report else stage_chip(gate.state, gate.progress, "done")
    return [
        {"title": "Rows", **_chip(chip)},
        {"title": "Duplicates", **_chip(alike)},
        {"title": "Tokens", **_chip(_tokens_chip(counted))},
    ]


def _alike_chip(report: GateReport) -> Chip:
    alike, personal = report.duplicates + report.near_rows, sum(each.count for each in report.findings)
    if not alike and not personal:
        return Chip(look="succeeded", shape="●", word="nothing found")
    words = [f"{number(alike)} alike"] * bool(alike) + [f"{number(personal)} with personal data"] * bool(personal)
    return Chip(look="warned", shape="▲", word=", ".join(words))


def _tokens_chip(counted: Any | None) -> Chip:
    if counted is None:
        return stage_chip("none", None, "")
    total = f"{number(counted.report.total_tokens)} tokens" if counted.report else "counted"
    return stage_chip(counted.state, counted.progress, total)


def stage_chip(state: State, share: float | None, done: str) -> Chip:
    match state:
        case "done":
            return Chip(look="succeeded", shape="●", word=done)
        case "running":
            percent = "" if share is None else f" {share:.0%}".replace("%", " %")
            return Chip(look="running", shape="◐", word=f"at work{percent} ...")
        case "waiting":
            return Chip(look="queued", shape="○", word="waiting")
        case "failed":
            return Chip(look="failed", shape="✕", word="failed")
        case _:
            return Chip(look="cancelled", shape="–", word="not yet")


def _chip(chip: Chip) -> dict[str, str]:
    return {"look": chip.look, "shape": chip.shape, "word": chip.word}


def _how_sure(intake: IntakeReport) -> str:
    if intake.is_overruled:
        return "as somebody chose"
    if intake.confidence >= SURE or not intake.rows:
        return ""
    words = f"{share_words(intake.confidence)} sure"
    others = [f"{format_title(name)} {share_words(share)}" for name, share in intake.others[:2] if share > 0]
    return f"{words}; next: {', '.join(others)}" if others else words


def _kinds(intake: IntakeReport) -> str:
    """ "180 conversations"; nothing where the kind is clear from the format alone."""
    return ", ".join(
        f"{number(count)} {KIND_WORDS.get(kind, (kind, kind))[count != 1]}" for kind, count in intake.kinds.items()
    )


def _gate_part(here: str, shown: Any, stage: Any, *, may_run: bool) -> Markup:
    report: GateReport | None = stage.report
    return render(
        "dataset_gate.html",
        here=here,
        file_id=shown.version.id,
        state=stage.state,
        share=stage.progress,
        gate=report,
        findings=findings_seen(report.findings) if report else [],
        may_run=may_run,
        why=stage.sentence,
    )


def _tokens_part(
    here: str, shown: Any, reports: Any, counted: Any | None, bases: Sequence[Any], looking: Looking, *, may_run: bool
) -> Markup:
    report: TokenReport | None = counted.report if counted else None
    total, trained = _kept(report, looking.max_length) if report else (0, 0)
    sequences = report.sequences if report else 0
    over = sequences - lengths.sequences_within(report.lengths, looking.max_length) if report else 0
    findings = findings_seen(report.findings) if report else []
    return render(
        "dataset_tokens.html",
        here=here,
        file_id=shown.version.id,
        bases=bases,
        base_id=looking.base_id,
        counted={each.base for each in reports.tokens if each.report},
        max_length=looking.max_length,
        state=counted.state if counted else "none",
        share=counted.progress if counted else None,
        report=report,
        picture=lengths.histogram(report.lengths, max_length=looking.max_length) if report else "",
        total=total,
        trained=trained,
        trained_share=share_words(trained / total) if total else "",
        over=over,
        over_words=_over_words(over, sequences),
        nothing=_count_of(findings, "nothing_trained"),
        percentiles=_percentiles(report) if report else [],
        findings=findings,
        body=json.dumps({"base": looking.base_id}),
        may_run=may_run,
        why=counted.sentence if counted else None,
    )


def _kept(report: TokenReport, max_length: int) -> tuple[int, int]:
    """The tokens of one epoch, all and trained, once what is longer has been left out."""
    kept = [each for each in report.lengths if each.tokens <= max_length]
    return sum(each.total_tokens for each in kept), sum(each.trained_tokens for each in kept)


def _over_words(over: int, sequences: int) -> str:
    if not over:
        return "everything fits"
    return f"{share_words(over / sequences)}, left out"


def _percentiles(report: TokenReport) -> list[tuple[str, int]]:
    return sorted(report.percentiles.items(), key=lambda item: float(item[0]))


def _count_of(findings: Sequence[FindingSeen], kind: str) -> int:
    return sum(finding.count for finding in findings if finding.kind == kind)
