"""/api/v1/bases: list; administrators import and describe. Keys never have their rights: a person signs in."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from webapp.actions.add_base import add_base, wish_for_base
from webapp.actions.show_bases import describe_base
from webapp.actions.show_models import list_bases
from webapp.routes.api.jobs import job_object
from webapp.routes.api.model_objects import model_object
from webapp.routes.asking import Body, Caller, Parts

router = APIRouter(prefix="/bases")


class BaseBody(Body):
    """`reference`: org/name[@revision] of the hub, or a folder or .gguf file on the worker's machine."""

    reference: str = Field(min_length=1, max_length=1000)
    name: str = Field(default="", max_length=200)  # "": from the reference
    description: str = Field(default="", max_length=400)


class DescriptionBody(Body):
    description: str = Field(max_length=400)


@router.get("")
def listing(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [model_object(seen) for seen in list_bases(parts, caller)]}


@router.post("", status_code=201)
def create(parts: Parts, caller: Caller, body: BaseBody) -> dict[str, Any]:
    return job_object(add_base(parts, caller, wish_for_base(body.reference, body.name, body.description)))


@router.patch("/{base_id}")
def describe(parts: Parts, caller: Caller, base_id: str, body: DescriptionBody) -> dict[str, Any]:
    row = describe_base(parts, caller, base_id, body.description.strip())
    return {"id": row.id, "object": "base", "model": row.name, "description": row.description}
