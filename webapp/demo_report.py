"""What the demonstration found, and how it prints it: answers side by side, losses, the merge's report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from models import samples
from models.domain.merging import MergeReport

PIPE_WIDTH = 160  # rich assumes 80 columns where nobody watches


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a fine-tune left: the adapter's public name and the held-out loss per token before and after."""

    adapter: str
    loss_before: float
    loss_after: float


@dataclass(frozen=True, kw_only=True)
class Merged:
    model: str
    report: MergeReport


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question with the answers of base, adapter and merge, in this order."""

    question: samples.Question
    answers: tuple[str, ...]

    def is_right(self, column: int) -> bool:
        return self.question.is_answered_by(self.answers[column])


def say(sentence: str) -> None:
    """One plain line, at once even into a pipe."""
    print(sentence, flush=True)


class Stages:
    """Where the time went: seconds of each stage, from its beginning to the next one's."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._seconds: dict[str, float] = {}

    def ended(self, name: str) -> None:
        now = time.monotonic()
        self._seconds[name], self._last = now - self._last, now

    def line(self) -> str:
        """`start 12 s, base 20 s`: one line, in order."""
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self._seconds.items())

    @property
    def total_seconds(self) -> float:
        return time.monotonic() - self._began


def print_report(trained: Trained, merged: Merged, asked: Sequence[Asked]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(_answers(asked))
    fall = 1 - trained.loss_after / trained.loss_before
    console.print(
        f"held-out loss per token: {trained.loss_before:.3f} before, {trained.loss_after:.3f} after ({fall:.0%} lower)"
    )
    for line in report_lines(merged.report):
        console.print(line, highlight=False)


def _answers(asked: Sequence[Asked]) -> Table:
    table = Table(show_lines=True)
    names = ("base", "adapter", "merge")
    table.add_column("held-out question", ratio=3)
    for column, name in enumerate(names):
        right = sum(row.is_right(column) for row in asked)
        table.add_column(f"{name}: {right} of {len(asked)} right", ratio=3)
    for row in asked:
        marks = ("+ " if row.is_right(column) else "- " for column in range(len(names)))
        table.add_row(row.question.question, *(mark + text for mark, text in zip(marks, row.answers, strict=True)))
    return table


def report_lines(report: MergeReport) -> list[str]:
    """The merge's report in words."""
    arithmetic, logits, shift = report.arithmetic, report.logits, report.shift
    recomputed = f"{arithmetic.merged_tensors} tensors recomputed, worst {arithmetic.worst_ulp:g} ulp"
    top1 = f"top-1 {logits.top1_agreement:.4f} (needed {logits.needed_top1:g})"
    kl = f"KL {logits.mean_kl:.2g} (allowed {logits.allowed_kl:g})"
    loss = "" if shift.difference is None else f", loss {shift.difference:+.4f}"
    return [
        f"merge: {'passed' if report.passed else 'refused'} ({report.mode}, {report.storage})",
        f"  arithmetic: {recomputed}; {arithmetic.untouched_tensors} others unchanged",
        f"  against the adapter on the same weights: {top1}, {kl} at {logits.positions} positions",
        f"  against the weights it was trained on: {shift.verdict.replace('_', ' ')}{loss}",
    ]
