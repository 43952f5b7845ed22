"""/api/v1/trackers: where a team's trainings are told besides here. Owners only; no answer holds a token."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from webapp.actions.trackers import (
    TrackerSeen,
    add_tracker,
    change_tracker,
    delete_tracker,
    list_trackers,
    try_tracker,
)
from webapp.routes.asking import Body, Caller, Parts, unix

router = APIRouter(prefix="/trackers")


class TrackerBody(Body):
    kind: str = Field(max_length=100)
    options: dict[str, str] = Field(default_factory=dict, max_length=20)
    token: str = Field(default="", max_length=10_000)


class ChangeBody(Body):
    is_on: bool | None = None
    token: str = Field(default="", max_length=10_000)


@router.get("")
def listing(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [tracker_object(seen) for seen in list_trackers(parts, caller)]}


@router.post("", status_code=201)
def create(parts: Parts, caller: Caller, body: TrackerBody) -> dict[str, Any]:
    """It is tried at once by a worker: `is_being_tried`, then `problem` or none."""
    return tracker_object(add_tracker(parts, caller, body.kind, body.options, body.token))


@router.patch("/{tracker}")
def change(parts: Parts, caller: Caller, tracker: str, body: ChangeBody) -> dict[str, Any]:
    return tracker_object(change_tracker(parts, caller, tracker, is_on=body.is_on, token=body.token))


@router.post("/{tracker}/try", status_code=202)
def ask(parts: Parts, caller: Caller, tracker: str) -> dict[str, Any]:
    return tracker_object(try_tracker(parts, caller, tracker))


@router.delete("/{tracker}")
def remove(parts: Parts, caller: Caller, tracker: str) -> dict[str, Any]:
    delete_tracker(parts, caller, tracker)
    return {"id": tracker, "object": "tracker", "deleted": True}


def tracker_object(seen: TrackerSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "tracker",
        "kind": seen.kind,
        "options": seen.options,
        "has_token": seen.has_token,
        "is_on": seen.is_on,
        "is_being_tried": seen.is_being_tried,
        "problem": seen.problem,
        "created_at": unix(seen.created_at),
        "changed_at": unix(seen.changed_at),
    }
