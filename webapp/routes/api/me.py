"""/api/v1/me: whose key this is."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from webapp.actions.who_am_i import who_am_i
from webapp.routes.asking import Caller, Parts

router = APIRouter(prefix="/me")


@router.get("")
def me(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "me", **asdict(who_am_i(parts, caller))}
