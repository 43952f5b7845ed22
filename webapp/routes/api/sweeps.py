"""/api/v1/sweeps: trainings that differ in one to three settings, started together and looked at together."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import Field

from models.domain.sweeps import MOST_KNOBS, Knob, SweepMode
from models.domain.swept import SweepSeen, SweptRun
from webapp.actions.cancel_sweep import cancel_sweep
from webapp.actions.once import request_hash
from webapp.actions.show_sweep import show_sweep
from webapp.actions.start_sweep import start_sweep
from webapp.routes.asking import Body, Caller, Parts, unix
from webapp.routes.v1.job_request import JobRequest

router = APIRouter(prefix="/sweeps")


class SweepRequest(Body):
    """`job` is what POST /v1/fine_tuning/jobs takes; the knobs are paths in the settings it makes."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    job: JobRequest
    knobs: list[Knob] = Field(min_length=1, max_length=MOST_KNOBS)
    mode: SweepMode = SweepMode.GRID


@router.post("")
def create(
    parts: Parts,
    caller: Caller,
    wish: SweepRequest,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> dict[str, Any]:
    hashed = request_hash("sweep", wish.model_dump(mode="json"), idempotency_key)
    made = start_sweep(
        parts, caller, wish.job.spec(), name=wish.name, knobs=wish.knobs, mode=wish.mode, request_hash=hashed
    )
    return sweep_object(show_sweep(parts, caller, made))


@router.get("/{sweep}")
def retrieve(parts: Parts, caller: Caller, sweep: str) -> dict[str, Any]:
    return sweep_object(show_sweep(parts, caller, sweep))


@router.post("/{sweep}/cancel")
def cancel(parts: Parts, caller: Caller, sweep: str) -> dict[str, Any]:
    """Only the runs that wait; those at work go on."""
    cancel_sweep(parts, caller, sweep)
    return sweep_object(show_sweep(parts, caller, sweep))


def sweep_object(seen: SweepSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "sweep",
        "name": seen.name,
        "created_at": unix(seen.created_at),
        "created_by": seen.created_by,
        "knobs": seen.knobs,
        "counts": seen.counts,
        "seed_spread": seen.spread,
        "compared_by": "held_out_loss" if seen.by_held_out else "train_loss",
        "settings": [
            {
                "values": one.values,
                "runs": one.runs,
                "mean": one.mean,
                "spread": one.spread,
                "behind_best": one.behind,
                "is_inside_spread": one.is_inside,
            }
            for one in seen.settings
        ],
        "runs": [_run_object(run) for run in seen.runs],
    }


def _run_object(run: SweptRun) -> dict[str, Any]:
    row = run.seen.run.row
    return {
        "job": row.id,
        "number": run.number,
        "values": run.values,
        "state": row.state,
        "done": row.done,
        "total": row.total,
        "train_loss": run.train_loss,
        "held_out_loss": run.held_out,
        "tokens_per_second": run.tokens_per_second,
        "behind_best": run.standing.behind if run.standing else None,
        "is_inside_spread": run.standing.is_inside if run.standing else None,
    }
