"""/setup/<token>: the first administrator chooses an e-mail address and a password. Plain HTML."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from models.domain.errors import AppError, NotFound
from webapp.actions.set_up import check_setup_link, set_up
from webapp.routes.asking import Parts
from webapp.routes.cookie import keep_signed_in
from webapp.routes.entrance import Typed, address_of
from webapp.routes.plain import gone, plain, refused

router = APIRouter()


@router.get("/setup/{token}")
def form(parts: Parts, token: str) -> Response:
    try:
        check_setup_link(parts.database, token)
    except NotFound as error:
        return gone(error)
    return plain("setup.html", token=token, email="", error=None)


@router.post("/setup/{token}")
def make(request: Request, parts: Parts, token: str, email: Typed = "", password: Typed = "") -> Response:
    agent = request.headers.get("user-agent", "")
    try:
        signed_in = set_up(parts, token, email, password, address=address_of(request), agent=agent)
    except NotFound as error:
        return gone(error)
    except AppError as error:
        return refused("setup.html", error, token=token, email=email)
    response = RedirectResponse("/", 303)
    keep_signed_in(response, signed_in, parts.settings)
    return response
