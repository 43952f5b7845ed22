"""Sign in and out: plain HTML forms that open and end a browser session."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response
from starlette.types import Scope

from models.domain.access import Member
from models.domain.errors import AppError
from webapp.actions.sessions import check_password, close_session, open_session
from webapp.routes.answers import status_of
from webapp.routes.asking import Caller, Parts
from webapp.routes.cookie import drop_cookie, set_cookie
from webapp.routes.plain import plain

HOME = "/"

router = APIRouter()


def sign_in_page(scope: Scope) -> Response:
    """What a browser gets instead of a page while nobody is signed in: 401, and the form that leads back here."""
    query = scope["query_string"].decode("ascii", "replace")
    return plain("sign_in.html", 401, next=scope["path"] + (f"?{query}" if query else ""), email="", error=None)


@router.get("/login")
def form(next: str = HOME) -> Response:
    return plain("sign_in.html", next=_inside(next), email="", error=None)


@router.post("/login")
def sign_in(
    request: Request,
    parts: Parts,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form(max_length=2000)] = HOME,
) -> Response:
    address = request.client.host if request.client else ""
    try:
        user, team = check_password(parts.database, email, password)
    except AppError as error:
        return plain("sign_in.html", status_of(error), next=_inside(next), email=email, error=error.message)
    token = open_session(parts.database, user, team, address=address, agent=request.headers.get("user-agent", ""))
    response = RedirectResponse(_inside(next), 303)
    set_cookie(response, token, parts.settings)
    return response


@router.post("/logout")
def sign_out(parts: Parts, caller: Caller) -> Response:
    if isinstance(caller, Member) and caller.sign_in:
        close_session(parts.database, caller.sign_in)
    response = RedirectResponse("/login", 303)
    drop_cookie(response, parts.settings)
    return response


def _inside(address: str) -> str:
    """Only addresses of this app: an open redirect would lend our name to anybody's page."""
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\")) and "\n" not in address
    return address if is_ours and not address.startswith("/login") else HOME
