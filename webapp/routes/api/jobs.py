"""/api/v1/jobs: jobs of every kind, their events and metrics."""

from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Body as JsonBody
from fastapi.responses import PlainTextResponse, StreamingResponse

from models.domain.errors import Invalid
from models.domain.job import CancelWish, JobKind, JobState
from models.domain.run import AnswerSeen
from webapp.actions.cancel_job import cancel_job
from webapp.actions.event_file import event_file
from webapp.actions.run_yaml import run_yaml
from webapp.actions.show_jobs import SERIES, JobSeen, job_events, job_log, job_metrics, job_samples, list_jobs, show_job
from webapp.routes.asking import After, Body, Caller, Limit, Parts, unix
from webapp.routes.v1.job_objects import error_object, event_object, number_of, progress_object

router = APIRouter(prefix="/jobs")


class CancelBody(Body):
    wish: CancelWish = CancelWish.DISCARD


@router.get("")
def listing(
    parts: Parts,
    caller: Caller,
    limit: Limit = 20,
    after: After = None,
    kind: JobKind | None = None,
    state: JobState | None = None,
) -> dict[str, Any]:
    kinds, states = (kind,) if kind else (), (state,) if state else ()
    page = list_jobs(parts, caller, limit=limit, after=after, kinds=kinds, states=states)
    return {"object": "list", "data": [job_object(seen) for seen in page.items], "has_more": page.has_more}


@router.get("/{job_id}")
def retrieve(parts: Parts, caller: Caller, job_id: str) -> dict[str, Any]:
    return job_object(show_job(parts, caller, job_id))


@router.post("/{job_id}/cancel")
def cancel(
    parts: Parts, caller: Caller, job_id: str, body: Annotated[CancelBody | None, JsonBody()] = None
) -> dict[str, Any]:
    return job_object(cancel_job(parts, caller, job_id, body.wish if body else CancelWish.DISCARD))


@router.get("/{job_id}/events")
def events(parts: Parts, caller: Caller, job_id: str, limit: Limit = 20, after: After = None) -> dict[str, Any]:
    page = job_events(parts, caller, job_id, limit=limit, after=number_of(after, "ftevent-"))
    return {"object": "list", "data": [event_object(event) for event in page.items], "has_more": page.has_more}


@router.get("/{job_id}/spec.yaml")
def spec_yaml(parts: Parts, caller: Caller, job_id: str) -> PlainTextResponse:
    """The settings of a training, to run it again: on the Train page, or with no server."""
    return PlainTextResponse(
        run_yaml(parts, caller, job_id),
        media_type="application/yaml",
        headers={"content-disposition": f'attachment; filename="{job_id}.yaml"'},
    )


@router.get("/{job_id}/tensorboard")
def tensorboard(parts: Parts, caller: Caller, job_id: str) -> StreamingResponse:
    """A training's figures as an event file: put it into a folder of its own for `tensorboard --logdir`."""
    return StreamingResponse(
        event_file(parts, caller, job_id),
        media_type="application/octet-stream",
        headers={"content-disposition": f'attachment; filename="events.out.tfevents.{job_id}"'},
    )


@router.get("/{job_id}/log")
def log(parts: Parts, caller: Caller, job_id: str) -> dict[str, Any]:
    """The end of what its process printed; `text` is null while it has printed nothing."""
    return {"object": "log", "job": job_id, "text": job_log(parts, caller, job_id)}


@router.get("/{job_id}/samples")
def samples(parts: Parts, caller: Caller, job_id: str, limit: Limit = 20, after: After = None) -> dict[str, Any]:
    """Held-out questions with what the model said to them after each step that was evaluated, newest first."""
    page = job_samples(parts, caller, job_id, limit=limit, after=number_of(after, "sample-"))
    return {"object": "list", "data": [sample_object(seen) for seen in page.items], "has_more": page.has_more}


@router.get("/{job_id}/metrics")
def metrics(
    parts: Parts, caller: Caller, job_id: str, series: Annotated[list[str] | None, Query()] = None
) -> dict[str, Any]:
    """`series` may be given several times; without it all are sent."""
    if unknown := sorted(set(series or ()) - set(SERIES)):
        raise Invalid(f"{unknown[0][:40]!r} is not a series; there are {', '.join(SERIES)}.", param="series")
    found = job_metrics(parts, caller, job_id, tuple(series or SERIES))
    return {
        "object": "metrics",
        "job": job_id,
        "series": {
            name: [{"step": point.step, "value": point.value, "at": unix(point.at)} for point in points]
            for name, points in found.items()
        },
    }


def job_object(seen: JobSeen) -> dict[str, Any]:
    job = seen.job
    return {
        "id": job.id,
        "object": "job",
        "kind": job.kind,
        "lane": job.lane,
        "state": job.state,
        "phase": job.phase,
        "progress": progress_object(seen),
        "created_at": unix(job.created_at),
        "started_at": unix(job.started_at),
        "finished_at": unix(job.finished_at),
        "created_by": job.created_by,
        "is_shared": job.team_id is None,
        "spec": _shown_spec(job.kind, job.spec),
        "error": error_object(job.error),
        "adapter": seen.adapter.id if seen.adapter else None,
        "merge": seen.merge.id if seen.merge else None,
        "report": _merge_report(job.kind, seen),
        "resumes": job.resumes,
        "attempts": job.attempts,
        "held_reason": job.held_reason,
        "cancel_requested_at": unix(job.cancel_requested_at),
    }


def sample_object(seen: AnswerSeen) -> dict[str, Any]:
    return {
        "id": f"sample-{seen.id}",
        "object": "sample",
        "at": unix(seen.at),
        "step": seen.step,
        "question": seen.question,
        "prompt": seen.prompt,
        "answer": seen.answer,
        "is_cut": seen.is_cut,
        "reference": seen.reference,
    }


def _merge_report(kind: str, seen: JobSeen) -> dict[str, Any] | None:
    """Why a merge was published or refused: the gate's figures, either way."""
    if kind != JobKind.MERGE:
        return None
    if seen.merge is not None:
        return seen.merge.report
    return (seen.job.error or {}).get("facts", {}).get("report")


def _shown_spec(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A base imported from this machine shows its last name, not where it lay."""
    if kind == JobKind.ADD_BASE and spec.get("source") != "hub":
        return spec | {"reference": PurePath(str(spec.get("reference", ""))).name}
    return spec
