"""What a training changed, and what it cost, in figures for people. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.domain.job import TERMINAL, JobKind, JobState
from models.domain.run import Curve, RunSeen


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Losses are per trained token. `published` says in words which step's weights the adapter has.

    `device_seconds`: of one worker's device, all attempts together.
    """

    held_before: float | None
    held_after: float | None
    best: tuple[int, float] | None
    first_loss: float | None
    last_loss: float | None
    steps: int
    planned: int | None
    published: str
    trained_tokens: int | None
    device_seconds: float

    @property
    def held_change(self) -> float | None:
        """As a share of the loss before: -0.4 is 40 % less."""
        if not self.held_before or self.held_after is None:
            return None
        return self.held_after / self.held_before - 1


def outcome_of(
    run: RunSeen, recent: Mapping[str, Curve], result: Mapping[str, Any], held_seconds: float
) -> Outcome | None:
    """None until a training has ended with at least one step."""
    row = run.row
    if row.kind != JobKind.TRAIN or JobState(row.state) not in TERMINAL or not row.done:
        return None
    held, train = recent.get("eval_loss", []), recent.get("train_loss", [])
    best = min(held, key=lambda point: (point[1], point[0]), default=None)
    told = (result.get("manifest") or {}).get("data") or {}
    return Outcome(
        held_before=held[0][1] if held and held[0][0] == 0 else told.get("heldout_loss_before"),
        held_after=held[-1][1] if held and held[-1][0] > 0 else None,
        best=best,
        first_loss=run.spark[0][1] if run.spark else None,
        last_loss=sum(value for _, value in train) / len(train) if train else None,
        steps=row.done,
        planned=told.get("planned_steps") or row.total,
        published=_published(run, result),
        trained_tokens=row.trained_tokens,
        device_seconds=held_seconds,
    )


def _published(run: RunSeen, result: Mapping[str, Any]) -> str:
    early = "stopped early; " if result.get("stopped_early_at") else ""
    if run.row.adapter_id is None:
        return f"{early}no adapter was made"
    step = result.get("adapter_step")
    return f"{early}the adapter is that of {f'step {step:,}' if step else 'the last step'}"
