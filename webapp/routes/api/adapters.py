"""/api/v1/adapters: list, one, download as a zip of safetensors and manifest."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from webapp.actions.show_models import list_adapters, show_adapter
from webapp.routes.api.model_objects import model_object, zip_answer
from webapp.routes.asking import After, Caller, Limit, Parts

router = APIRouter(prefix="/adapters")


@router.get("")
def listing(parts: Parts, caller: Caller, limit: Limit = 20, after: After = None) -> dict[str, Any]:
    page = list_adapters(parts, caller, limit=limit, after=after)
    return {"object": "list", "data": [model_object(seen) for seen in page.items], "has_more": page.has_more}


@router.get("/{adapter}")
def retrieve(parts: Parts, caller: Caller, adapter: str) -> dict[str, Any]:
    return model_object(show_adapter(parts, caller, adapter))


@router.get("/{adapter}/download")
def download(parts: Parts, caller: Caller, adapter: str) -> StreamingResponse:
    return zip_answer(parts, show_adapter(parts, caller, adapter))
