"""The one cookie: what it is called, how it is read, set and taken back."""

from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import Response

from models.infra.settings import Settings

NAME = "tuneroom"


def cookie_of(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(NAME)
    except CookieError:
        return None
    return morsel.value if morsel else None


def set_cookie(response: Response, token: str, settings: Settings) -> None:
    """For this browser until it is closed or the session ends; Secure exactly when people come by https."""
    response.set_cookie(NAME, token, httponly=True, samesite="lax", secure=_is_https(settings), path="/")


def drop_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(NAME, httponly=True, samesite="lax", secure=_is_https(settings), path="/")


def _is_https(settings: Settings) -> bool:
    return (settings.public_url or "").startswith("https://")
