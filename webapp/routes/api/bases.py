"""/api/v1/bases: list, and import from the hub by administrators. Folders and files only from the command line."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from models.domain.base_model import AddBaseSpec
from webapp.actions.add_base import add_base
from webapp.actions.show_models import list_bases
from webapp.routes.api.jobs import job_object
from webapp.routes.api.model_objects import model_object
from webapp.routes.asking import Body, Caller, Parts

router = APIRouter(prefix="/bases")


class BaseBody(Body):
    name: str = Field(min_length=1, max_length=96, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    reference: str = Field(min_length=3, max_length=255, pattern=r"^[\w.-]+/[\w.-]+(@[\w./-]+)?$")
    description: str = Field(default="", max_length=400)


@router.get("")
def listing(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [model_object(seen) for seen in list_bases(parts, caller)]}


@router.post("", status_code=201)
def create(parts: Parts, caller: Caller, body: BaseBody) -> dict[str, Any]:
    spec = AddBaseSpec(name=body.name, source="hub", reference=body.reference, description=body.description)
    return job_object(add_base(parts, caller, spec))
