"""/api/v1/presets: settings of trainings that people keep, for themselves or for the team, and their YAML."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import Field

from webapp.actions.presets import (
    PresetSeen,
    change_preset,
    delete_preset,
    import_preset,
    list_presets,
    open_preset,
    preset_yaml,
    save_preset,
)
from webapp.routes.asking import Body, Caller, Parts, unix
from webapp.views.plain_yaml import LONGEST

router = APIRouter(prefix="/presets")


class NewBody(Body):
    """`settings` are data, method, quantisation and schedule as in `spec` of a training; what is left out keeps its
    default."""

    name: str = Field(max_length=2000)
    settings: dict[str, Any] = Field(default={}, max_length=50)
    is_shared: bool = False


class ChangeBody(Body):
    """What is left out stays."""

    name: str | None = Field(default=None, max_length=2000)
    settings: dict[str, Any] | None = Field(default=None, max_length=50)
    is_shared: bool | None = None


class ImportBody(Body):
    """`yaml` of a preset or of a training; `name` wins over the one in it."""

    yaml: str = Field(max_length=2 * LONGEST)
    name: str = Field(default="", max_length=2000)
    is_shared: bool = False


@router.get("")
def listing(parts: Parts, caller: Caller) -> dict[str, Any]:
    """One's own first, then those shared with the team."""
    found = list_presets(parts, caller)
    return {"object": "list", "data": [preset_object(seen) for seen in found], "has_more": False}


@router.post("", status_code=201)
def create(parts: Parts, caller: Caller, body: NewBody) -> dict[str, Any]:
    return preset_object(save_preset(parts, caller, body.name, body.settings, is_shared=body.is_shared))


@router.post("/import", status_code=201)
def read(parts: Parts, caller: Caller, body: ImportBody) -> dict[str, Any]:
    return preset_object(import_preset(parts, caller, body.yaml, name=body.name, is_shared=body.is_shared))


@router.get("/{preset}")
def retrieve(parts: Parts, caller: Caller, preset: str) -> dict[str, Any]:
    return preset_object(open_preset(parts, caller, preset))


@router.patch("/{preset}")
def change(parts: Parts, caller: Caller, preset: str, body: ChangeBody) -> dict[str, Any]:
    return preset_object(change_preset(parts, caller, preset, **body.model_dump()))


@router.delete("/{preset}")
def delete(parts: Parts, caller: Caller, preset: str) -> dict[str, Any]:
    delete_preset(parts, caller, preset)
    return {"id": preset, "object": "preset", "deleted": True}


@router.get("/{preset}/preset.yaml")
def export(parts: Parts, caller: Caller, preset: str) -> PlainTextResponse:
    """Settings only: no base, no rows, no ids."""
    name, text = preset_yaml(parts, caller, preset)
    return PlainTextResponse(
        text,
        media_type="application/yaml",
        headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}.yaml"},
    )


def preset_object(seen: PresetSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "preset",
        "name": seen.name,
        "created_by": seen.author,
        "created_at": unix(seen.created_at),
        "is_mine": seen.is_mine,
        "is_shared": seen.is_shared,
        "settings": seen.settings,
    }
