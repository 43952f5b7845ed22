"""/v1/fine_tuning/jobs: create, look at, cancel. Our own knobs travel in the one extra object `tuneroom`."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi import Body as JsonBody

from models.domain.errors import Invalid
from models.domain.job import CancelWish, JobKind
from webapp.actions.cancel_job import cancel_job
from webapp.actions.once import request_hash
from webapp.actions.show_jobs import job_checkpoints, job_events, list_jobs, show_job
from webapp.actions.start_training import start_training
from webapp.routes.asking import After, Body, Caller, Limit, Parts
from webapp.routes.v1.job_objects import checkpoint_object, event_object, job_object, number_of
from webapp.routes.v1.job_request import JobRequest

router = APIRouter(prefix="/fine_tuning/jobs")
TRAIN = (JobKind.TRAIN,)


class CancelBody(Body):
    """Our extension: True makes an adapter of the last step before the job ends."""

    keep_adapter: bool = False


@router.post("")
def create(
    parts: Parts,
    caller: Caller,
    wish: JobRequest,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> dict[str, Any]:
    hashed = request_hash("train", wish.model_dump(mode="json"), idempotency_key)
    seen = start_training(parts, caller, wish.spec(), meta=wish.metadata or {}, request_hash=hashed)
    return job_object(seen)


@router.get("")
def listing(
    parts: Parts, caller: Caller, request: Request, limit: Limit = 20, after: After = None, metadata: str | None = None
) -> dict[str, Any]:
    """`metadata[k]=v` keeps jobs that carry the pair, the literal `metadata=null` those without any."""
    if metadata not in (None, "null"):
        raise Invalid(
            "metadata is not a filter by itself. Send metadata[key]=value, or metadata=null.", param="metadata"
        )
    pairs = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    page = list_jobs(
        parts, caller, limit=limit, after=after, kinds=TRAIN, meta=pairs, without_meta=metadata == "null"
    )  # fmt: skip
    return {"object": "list", "data": [job_object(seen) for seen in page.items], "has_more": page.has_more}


@router.get("/{job_id}")
def retrieve(parts: Parts, caller: Caller, job_id: str) -> dict[str, Any]:
    return job_object(show_job(parts, caller, job_id, TRAIN))


@router.post("/{job_id}/cancel")
def cancel(
    parts: Parts,
    caller: Caller,
    job_id: str,
    keep: bool = False,
    body: Annotated[CancelBody | None, JsonBody()] = None,
) -> dict[str, Any]:
    wants_adapter = keep or (body is not None and body.keep_adapter)
    return job_object(
        cancel_job(parts, caller, job_id, CancelWish.KEEP if wants_adapter else CancelWish.DISCARD, TRAIN)
    )


@router.get("/{job_id}/events")
def events(parts: Parts, caller: Caller, job_id: str, limit: Limit = 20, after: After = None) -> dict[str, Any]:
    page = job_events(parts, caller, job_id, limit=limit, after=number_of(after, "ftevent-"), kinds=TRAIN)
    return {"object": "list", "data": [event_object(event) for event in page.items], "has_more": page.has_more}


@router.get("/{job_id}/checkpoints")
def checkpoints(
    parts: Parts,
    caller: Caller,
    job_id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    after: After = None,
) -> dict[str, Any]:
    page = job_checkpoints(parts, caller, job_id, limit=limit, before_step=number_of(after, "ftckpt_", most=2**31 - 1))
    data = [checkpoint_object(seen) for seen in page.items]
    return {
        "object": "list",
        "data": data,
        "has_more": page.has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
