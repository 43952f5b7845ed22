"""/invite/<token>: join a team, with a new account, with one's own, or as who is signed in here. Plain HTML."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from models.domain.errors import AppError, NotFound
from webapp.actions.invitations import accept, accept_signed_in, open_invitation
from webapp.actions.who_am_i import who_am_i
from webapp.deps import Deps
from webapp.routes.asking import Parts
from webapp.routes.cookie import keep_signed_in
from webapp.routes.entrance import Typed, knock_of, signed_in_here
from webapp.routes.plain import gone, plain, refused

router = APIRouter()


@router.get("/invite/{token}")
def form(request: Request, parts: Parts, token: str) -> Response:
    try:
        invitation = open_invitation(parts, token)
    except NotFound as error:
        return gone(error)
    here = _here(request, parts)
    return plain("invite.html", token=token, invitation=invitation, here=here, email="", error=None)


@router.post("/invite/{token}")
def join(
    request: Request, parts: Parts, token: str, email: Typed = "", password: Typed = "",
    here: Annotated[str, Form(max_length=10)] = "",
) -> Response:  # fmt: skip
    """`here` is sent by the button for who is signed in."""
    member = signed_in_here(request, parts) if here else None
    try:
        invitation = open_invitation(parts, token)
    except NotFound as error:
        return gone(error)
    try:
        if member is not None:
            accept_signed_in(parts, token, member)
            return RedirectResponse("/", 303)
        signed_in = accept(parts, token, knock_of(request, email, password))
    except NotFound as error:  # used or revoked at this moment
        return gone(error)
    except AppError as error:
        facts = {"token": token, "invitation": invitation, "here": _here(request, parts), "email": email}
        return refused("invite.html", error, **facts)
    response = RedirectResponse("/", 303)
    keep_signed_in(response, signed_in, parts.settings)
    return response


def _here(request: Request, parts: Deps) -> str | None:
    """The e-mail of who is signed in in this browser."""
    member = signed_in_here(request, parts)
    return who_am_i(parts, member).email if member is not None else None
