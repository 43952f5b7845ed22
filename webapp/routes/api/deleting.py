"""DELETE /api/v1/...: every deletion of what has an address of its own. The answer says what stays."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from models.domain.access import Principal
from webapp.actions.delete_adapter import delete_adapter
from webapp.actions.delete_base import delete_base
from webapp.actions.delete_dataset import delete_dataset
from webapp.actions.delete_job import delete_job
from webapp.actions.delete_merge import delete_merge
from webapp.actions.deleted import Deleted
from webapp.deps import Deps
from webapp.routes.asking import Caller, Parts

router = APIRouter()

VERBS: dict[str, Callable[[Deps, Principal, str], Deleted]] = {
    "datasets": delete_dataset,
    "jobs": delete_job,
    "adapters": delete_adapter,
    "merges": delete_merge,
    "bases": delete_base,
}


def _add(noun: str, verb: Callable[[Deps, Principal, str], Deleted]) -> None:
    @router.delete(f"/{noun}/{{object_id}}", name=f"delete_{noun}")
    def remove(parts: Parts, caller: Caller, object_id: str) -> dict[str, Any]:
        gone = verb(parts, caller, object_id)
        return {"id": gone.id, "object": gone.kind, "deleted": True, "note": gone.note}


for _noun, _verb in VERBS.items():
    _add(_noun, _verb)
