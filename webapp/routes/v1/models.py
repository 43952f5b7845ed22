"""/v1/models: what the caller may talk to, and in `tuneroom` on which weights it answers."""

from typing import Any

from fastapi import APIRouter

from webapp.actions.delete_adapter import delete_adapter
from webapp.actions.delete_merge import delete_merge
from webapp.actions.show_models import ModelSeen, list_models, show_model
from webapp.routes.asking import Caller, Parts, unix

router = APIRouter(prefix="/models")
LONG = ("report", "manifest")  # to be read at /api/v1


@router.get("")
def listing(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [model_object(seen) for seen in list_models(parts, caller)]}


@router.get("/{model:path}")  # a name with a slash arrives as %2F
def retrieve(parts: Parts, caller: Caller, model: str) -> dict[str, Any]:
    return model_object(show_model(parts, caller, model))


@router.delete("/{model:path}")
def remove(parts: Parts, caller: Caller, model: str) -> dict[str, Any]:
    """Adapters and merges; a base is everybody's, and an administrator's to delete."""
    delete = delete_merge if model.startswith(("merge:", "merge-")) else delete_adapter
    return {"id": delete(parts, caller, model).id, "object": "model", "deleted": True}


def model_object(seen: ModelSeen) -> dict[str, Any]:
    """OpenAI's model. `tuneroom.precision` says what answers: an adapter is served on what it was trained on."""
    return {
        "id": seen.name,
        "object": "model",
        "created": unix(seen.created_at),
        "owned_by": seen.team or "tuneroom",
        "tuneroom": {
            "id": seen.id,
            "kind": seen.kind,
            "base": seen.base,
            "quantisation": seen.quantisation,
            "precision": seen.precision,
            "bytes": seen.size,
            "licence": seen.licence,
            **{name: value for name, value in seen.facts.items() if name not in LONG},
        },
    }
