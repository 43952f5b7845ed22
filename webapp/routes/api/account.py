"""/api/v1/keys, /sign-ins, /password: what belongs to who asks. A key may read its person's keys, no more."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from models.domain.access import Member
from models.domain.errors import Forbidden
from webapp.actions.change_password import change_password
from webapp.actions.my_keys import KeySeen, make_key, my_keys, revoke_key, team_keys
from webapp.actions.sessions import SignInSeen, end_my_sign_in, end_my_sign_ins, my_sign_ins
from webapp.routes.asking import Body, Caller, Parts, unix
from webapp.routes.cookie import DEVICE, cookie_of, set_device
from webapp.routes.entrance import address_of

router = APIRouter()


class KeyBody(Body):
    name: str = Field(max_length=1000)


class PasswordBody(Body):
    old: str = Field(max_length=10_000)
    new: str = Field(max_length=10_000)


@router.get("/keys")
def keys(parts: Parts, caller: Caller, team: bool = False) -> dict[str, Any]:
    """One's own in this team; `?team=true` everybody's, for owners."""
    found = team_keys(parts, caller) if team else my_keys(parts, caller)
    return {"object": "list", "data": [key_object(key) for key in found]}


@router.post("/keys", status_code=201)
def create_key(parts: Parts, caller: Caller, body: KeyBody) -> dict[str, Any]:
    """`secret` is in this answer alone."""
    made = make_key(parts, caller, body.name)
    return key_object(made.seen) | {"secret": made.secret}


@router.delete("/keys/{key}")
def delete_key(parts: Parts, caller: Caller, key: str) -> dict[str, Any]:
    revoke_key(parts, caller, key)
    return {"id": key, "object": "key", "deleted": True}


@router.get("/sign-ins")
def sign_ins(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [sign_in_object(seen) for seen in my_sign_ins(parts, caller)]}


@router.delete("/sign-ins")
def end_everywhere(parts: Parts, caller: Caller) -> dict[str, Any]:
    """This browser, too."""
    return {"object": "list", "deleted": end_my_sign_ins(parts, caller)}


@router.delete("/sign-ins/{sign_in}")
def end_one(parts: Parts, caller: Caller, sign_in: str) -> dict[str, Any]:
    end_my_sign_in(parts, caller, sign_in)
    return {"id": sign_in, "object": "sign_in", "deleted": True}


@router.post("/password")
def password(request: Request, parts: Parts, caller: Caller, body: PasswordBody) -> JSONResponse:
    """Ends every other sign-in of the person."""
    if not isinstance(caller, Member):
        raise Forbidden("A key cannot change a password. Sign in and change it on your account's page.")
    device = change_password(
        parts, caller, body.old, body.new, address=address_of(request), device=cookie_of(request.headers, DEVICE)
    )
    response = JSONResponse({"object": "password", "changed": True})
    set_device(response, device, parts.settings)
    return response


def key_object(key: KeySeen) -> dict[str, Any]:
    return {
        "id": key.id,
        "object": "key",
        "name": key.name,
        "person": key.user_id,
        "created_at": unix(key.created_at),
        "last_used_at": unix(key.last_used_at),
    }


def sign_in_object(seen: SignInSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "sign_in",
        "address": seen.address,
        "agent": seen.agent,
        "is_this": seen.is_this,
        "created_at": unix(seen.created_at),
        "seen_at": unix(seen.seen_at),
    }
