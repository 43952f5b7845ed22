"""One JSON object for bases, adapters and merges, and the answer that is a zip of one."""

from typing import Any

from fastapi.responses import StreamingResponse

from webapp.actions.show_models import ModelSeen, download
from webapp.deps import Deps
from webapp.routes.asking import unix
from webapp.routes.v1.files import attachment


def model_object(seen: ModelSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": seen.kind,
        "model": seen.name,
        "created_at": unix(seen.created_at),
        "base": seen.base,
        "quantisation": seen.quantisation,
        "precision": seen.precision,
        "bytes": seen.size,
        "licence": seen.licence,
        **seen.facts,
    }


def zip_answer(parts: Deps, seen: ModelSeen) -> StreamingResponse:
    """Its length is not said: the zip is made while it is sent."""
    headers = {"Content-Disposition": attachment(f"{seen.id}.zip")}
    return StreamingResponse(download(parts, seen), media_type="application/zip", headers=headers)
