"""/api/v1/merges: ask for one, list, one with the report that let it pass, download."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import Field

from models.domain.ids import AdapterId
from models.domain.merging import MergeMode, MergeSpec, StorageDtype
from webapp.actions.merge_adapter import merge_adapter
from webapp.actions.once import request_hash
from webapp.actions.show_models import list_merges, show_merge
from webapp.routes.api.jobs import job_object
from webapp.routes.api.model_objects import model_object, zip_answer
from webapp.routes.asking import After, Body, Caller, Limit, Parts

router = APIRouter(prefix="/merges")


class MergeBody(Body):
    adapter: str = Field(min_length=1, max_length=255)
    mode: MergeMode = MergeMode.FULL_PRECISION
    storage: StorageDtype = StorageDtype.BF16


@router.post("", status_code=201)
def create(
    parts: Parts,
    caller: Caller,
    body: MergeBody,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> dict[str, Any]:
    """Answers the job; its `merge` is there once the gate has let it pass."""
    spec = MergeSpec(adapter=AdapterId(body.adapter), mode=body.mode, storage=body.storage)
    hashed = request_hash("merge", body.model_dump(mode="json"), idempotency_key)
    return job_object(merge_adapter(parts, caller, spec, request_hash=hashed))


@router.get("")
def listing(parts: Parts, caller: Caller, limit: Limit = 20, after: After = None) -> dict[str, Any]:
    page = list_merges(parts, caller, limit=limit, after=after)
    return {"object": "list", "data": [model_object(seen) for seen in page.items], "has_more": page.has_more}


@router.get("/{merge}")
def retrieve(parts: Parts, caller: Caller, merge: str) -> dict[str, Any]:
    return model_object(show_merge(parts, caller, merge))


@router.get("/{merge}/download")
def download(parts: Parts, caller: Caller, merge: str) -> StreamingResponse:
    return zip_answer(parts, show_merge(parts, caller, merge))
