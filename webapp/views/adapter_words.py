"""Merges and their reports in words, for people who decide whether to use one. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from models.domain.job import JobState, Phase
from models.domain.merging import LogitCheck, MergeMode, MergeReport, ShiftCheck
from webapp.views.run_words import PHASES

MODES = {
    MergeMode.FULL_PRECISION: "onto the base as imported",
    MergeMode.AS_TESTED: "onto the 4-bit base, unpacked again",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of the gate: its name, what came out, and whether it held. None: it was not measured."""

    title: str
    words: str
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class ReportInWords:
    verdict: str
    has_passed: bool
    findings: tuple[Finding, ...]
    refusals: tuple[str, ...]


def report_in_words(report: Mapping[str, Any] | None) -> ReportInWords | None:
    """None where there is no report. One of another version keeps its verdict and loses its details."""
    if report is None:
        return None
    try:
        told = MergeReport.model_validate(dict(report))
    except ValidationError:
        has_passed = bool(report.get("passed"))
        return ReportInWords(verdict=_verdict(has_passed), has_passed=has_passed, findings=(), refusals=())
    return ReportInWords(
        verdict=_verdict(told.passed),
        has_passed=told.passed,
        findings=(_weights(told), _answers(told.logits), _shift(told.shift)),
        refusals=told.refusals,
    )


def mode_in_words(mode: str) -> str:
    return MODES[MergeMode(mode)] if mode in list(MergeMode) else mode


def merging_in_words(state: str, phase: str | None) -> str:
    """What a merge job is doing now."""
    match state:
        case JobState.QUEUED:
            return "Waiting for a worker"
        case JobState.RUNNING:
            return PHASES.get(Phase(phase), "Working") if phase in list(Phase) else "Starting"
        case JobState.SUCCEEDED:
            return "Merged"
        case JobState.FAILED:
            return "Not merged"
        case _:
            return "Cancelled"


def pretty(manifest: Mapping[str, Any]) -> str:
    """The manifest as a person reads it: long lists of module names stay on one line each."""
    return json.dumps(manifest, indent=2, ensure_ascii=False)


def snippet(base_url: str, model: str) -> str:
    """A program that asks this model, with the official client."""
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base_url}/v1", api_key="tr-...")  # make a key on the Team page\n'
        "answer = client.chat.completions.create(\n"
        f"    model={json.dumps(model)},\n"
        '    messages=[{"role": "user", "content": "Hello"}],\n'
        ")\n"
        "print(answer.choices[0].message.content)\n"
    )


def _verdict(has_passed: bool) -> str:
    return "Checked and published" if has_passed else "Refused by its checks, so nothing was published"


def _weights(report: MergeReport) -> Finding:
    check = report.arithmetic
    worst = f"; the worst is {check.worst_ulp:.2g} ulp away, 1 is allowed" if check.merged_tensors else ""
    words = (
        f"{check.merged_tensors:,} merged tensors were computed a second time, another way{worst}. "
        f"{check.untouched_tensors:,} tensors the adapter does not touch were compared byte by byte."
    )
    broken = check.missing_modules or check.unexpected_modules or check.changed_untouched or check.beyond_one_ulp
    return Finding(title="Its weights are what they should be", words=words, holds=not broken)


def _answers(check: LogitCheck) -> Finding:
    holds = check.top1_agreement >= check.needed_top1 and check.mean_kl <= check.allowed_kl
    words = (
        f"At {check.top1_agreement:.2%} of {check.positions:,} positions it chooses the same next token as base and "
        f"adapter on the same weights ({check.needed_top1:.2%} was needed). Mean KL {check.mean_kl:.2g} nats a "
        f"position ({check.allowed_kl:g} is allowed)."
    )
    return Finding(title="It answers like base and adapter", words=words, holds=holds)


def _shift(check: ShiftCheck) -> Finding:
    title = "It is no worse than what was tested"
    match check.verdict:
        case "not_applicable":
            words = "Nothing to compare: it stands on the very weights the adapter was trained on."
            return Finding(title=title, words=words, holds=True)
        case "not_enough_data":
            words = (
                f"Not enough data to say: {check.answer_tokens:,} held-out answer tokens, "
                f"{check.needed_tokens:,} were needed."
            )
            return Finding(title=title, words=words + _figures(check), holds=None)
        case verdict:
            return Finding(title=title, words=_figures(check).strip(), holds=verdict == "not_worse")


def _figures(check: ShiftCheck) -> str:
    if check.adapter_loss is None or check.merged_loss is None or check.difference is None:
        return ""
    words = (
        f" Loss an answer token: {check.adapter_loss:.4g} with the adapter as trained, {check.merged_loss:.4g} merged, "
        f"a difference of {check.difference:+.4f}"
    )
    if check.interval_low is not None and check.interval_high is not None:
        words += f" (95 % between {check.interval_low:+.4f} and {check.interval_high:+.4f})"
    words += f", over {check.answer_tokens:,} tokens."
    if check.top1_agreement is not None and check.mean_kl is not None:
        words += f" Same next token at {check.top1_agreement:.1%}; KL {check.mean_kl:.2g}."
    return words
