"""Sign in, sign out, and go on in another team: plain HTML forms around a browser session."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response
from starlette.types import Scope

from models.domain.access import Member
from models.domain.errors import AppError
from webapp.actions.prove_password import Knock
from webapp.actions.sessions import close_session, member_of_cookie, sign_in, switch_team
from webapp.deps import Deps
from webapp.routes.asking import Caller, Parts
from webapp.routes.cookie import DEVICE, cookie_of, drop_cookie, keep_signed_in
from webapp.routes.plain import plain, refused

HOME = "/"
Typed = Annotated[str, Form()]  # the actions bound what they take, and say so in the form
LONGEST_NEXT = 2000

router = APIRouter()


def sign_in_page(scope: Scope) -> Response:
    """What a browser gets instead of a page while nobody is signed in: 401, and the form that leads back here."""
    query = scope["query_string"].decode("ascii", "replace")
    return plain("sign_in.html", 401, next=scope["path"] + (f"?{query}" if query else ""), email="", error=None)


@router.get("/login")
def form(request: Request, parts: Parts, next: str = HOME) -> Response:
    """Straight on for somebody who is signed in already."""
    if signed_in_here(request, parts) is not None:
        return RedirectResponse(_inside(next), 303)
    return plain("sign_in.html", next=_inside(next), email="", error=None)


@router.post("/login")
def enter(request: Request, parts: Parts, email: Typed = "", password: Typed = "", next: Typed = HOME) -> Response:
    try:
        signed_in = sign_in(parts, knock_of(request, email, password), replaced=cookie_of(request.headers))
    except AppError as error:
        return refused("sign_in.html", error, next=_inside(next), email=email)
    response = RedirectResponse(_inside(next), 303)
    keep_signed_in(response, signed_in, parts.settings)
    return response


@router.post("/logout")
def leave(parts: Parts, caller: Caller) -> Response:
    if isinstance(caller, Member) and caller.sign_in:
        close_session(parts.database, caller.sign_in)
    response = RedirectResponse("/login", 303)
    drop_cookie(response, parts.settings)
    return response


@router.post("/team/switch")
def switch(parts: Parts, caller: Caller, team: Typed = "") -> Response:
    switch_team(parts, caller, team)
    return RedirectResponse(HOME, 303)


def knock_of(request: Request, email: str, password: str) -> Knock:
    """A try to come in, with what the request says of the browser."""
    return Knock(
        email=email, password=password, address=address_of(request), device=cookie_of(request.headers, DEVICE),
        agent=request.headers.get("user-agent", ""),
    )  # fmt: skip


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def signed_in_here(request: Request, parts: Deps) -> Member | None:
    """Who this browser is signed in as; for addresses that are open to all."""
    token = cookie_of(request.headers)
    try:
        return member_of_cookie(parts.database, token) if token else None
    except AppError:
        return None


def _inside(address: str) -> str:
    """Only addresses of this app: an open redirect would lend our name to anybody's page."""
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    is_ours = is_ours and len(address) <= LONGEST_NEXT
    return address if is_ours and not address.startswith(("/login", "/logout")) else HOME
