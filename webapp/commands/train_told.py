"""What a local training says, for people: one line that moves on a terminal, few lines into a pipe. Decides nothing."""

import shutil
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from models.domain.local_training import REPORT, LocalEnded, LocalReport
from models.domain.progress import seconds_left
from webapp.commands.check_told import neutral

SECONDS_BETWEEN_LINES = 5.0  # into a pipe
PACE_BY = 20  # steps
LONG_PHASES = ("converting", "planning", "loading", "checking")  # the others come again and again


class Progress:
    """Use as a context. Shows the worker's lines as they come."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._is_terminal = out, out.isatty()
        self._said_at, self._is_open, self._last = 0.0, False, ""
        self._recent: deque[tuple[int, datetime]] = deque(maxlen=PACE_BY)
        self._held_out: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: tuple[type[BaseException], BaseException, TracebackType]) -> None:
        self._close()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._close()
        print(neutral(text), file=self._out, flush=True)

    def show(self, told: dict[str, Any]) -> None:
        match told.get("type", "doing"):
            case "doing":
                share = f" {told['done'] / told['total']:.0%}" if told["total"] else ""
                self._move(f"{told['doing']}{share}", what=told["doing"])
            case "phase":
                self._move(told["phase"], what=told["phase"] if told["phase"] in LONG_PHASES else "")
            case "progress":
                total = f" of {told['total']:,}" if told["total"] else ""
                self._move(f"{told['done']:,}{total} {told['unit']}", what="")
            case "step":
                self._step(told)
            case "eval":
                self._held_out = told["loss_per_token"]
                self.note(f"step {told['step']}: validation loss {told['loss_per_token']:.4f}")
            case "message":
                self.note(("" if told["level"] == "info" else "Note: ") + told["text"])
            case "checkpoint":
                self._move(f"checkpoint at step {told['step']} saved", what="")
            case _:
                return

    def _step(self, told: dict[str, Any]) -> None:
        at = datetime.fromisoformat(told["at"])
        self._recent.append((told["step"], at))
        left = seconds_left(told["step"], told["total_steps"], list(self._recent), at)
        held_out = f", validation {self._held_out:.4f}" if self._held_out is not None else ""
        ends = f", {_clock(left)} left" if left is not None else ""
        text = f"step {told['step']}/{told['total_steps']}: loss {told['loss_per_token']:.4f}{held_out}{ends}"
        is_edge = told["step"] in (1, told["total_steps"])
        self._move(text, what=text if is_edge else "", is_step=True)

    def _move(self, text: str, *, what: str, is_step: bool = False) -> None:
        """On a terminal the line changes; into a pipe one is written for a new thing, and now and then for steps."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{neutral(text)[:width]}", end="", file=self._out, flush=True)
            self._is_open = True
            return
        is_due = is_step and time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES
        if is_due or (what and what != self._last):
            self._said_at = time.monotonic() if is_step else self._said_at
            self._last = what or self._last
            print(neutral(text), file=self._out, flush=True)

    def _close(self) -> None:
        if self._is_open:
            print(file=self._out, flush=True)
            self._is_open = False


def tell(ended: LocalEnded, out: Path) -> None:
    """The last lines: the figures, or a sentence on what went wrong and how to go on. Errors go to stderr."""
    import sys

    if ended.report is not None:
        for line in lines(ended.report):
            print(line)
        return
    if ended.error is not None:
        message = ended.error["message"]
        print(neutral(message[:1].upper() + message[1:]), file=sys.stderr)
    if ended.step is not None:
        again = f"The same command with --resume goes on from step {ended.step}, in {out}."
        print(neutral(f"Interrupted. {again}" if ended.status == "interrupted" else again), file=sys.stderr)
    elif ended.status == "interrupted":
        print(
            "Interrupted before the first checkpoint: nothing is kept. The same command begins anew.", file=sys.stderr
        )


def lines(report: LocalReport) -> list[str]:
    loss = report.train_loss
    told = [
        f"Done: {report.steps} steps over {report.rows:,} rows, {report.tokens_seen:,} tokens seen and "
        f"{report.trained_tokens:,} of them trained.",
        f"Training loss {loss.first:.4f} at first, {loss.last:.4f} at last, {loss.best:.4f} at best.",
    ]
    if report.validation_loss is not None:
        held_out = report.validation_loss
        told.append(
            f"Validation loss {held_out.first:.4f} at first, {held_out.last:.4f} at last, {held_out.best:.4f} at best."
        )
    first = f", {report.seconds_to_first_step:.1f} s to the first step" if report.seconds_to_first_step else ""
    pace = f", {report.tokens_per_second:,.0f} tokens/s" if report.tokens_per_second else ""
    told.append(
        f"{report.seconds_total:.1f} s in all{first}{pace}, {report.peak_memory_bytes / 10**9:.2f} GB of memory at its "
        "highest."
    )
    told.append(f"The adapter lies in {neutral(report.adapter)}, with {REPORT}.")
    return told


def _clock(seconds: float) -> str:
    whole = int(seconds + 0.5)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
