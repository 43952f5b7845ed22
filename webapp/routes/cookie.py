"""The two cookies: the session's, and the device's that outlives it. How they are called, read and set."""

from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import Response

from models.infra.settings import Settings
from webapp.actions.sessions import SignedIn

NAME = "tuneroom"
DEVICE = "tuneroom_device"  # opens nothing: `webapp.actions.devices`
DEVICE_SECONDS = 180 * 24 * 3600


def cookie_of(headers: Headers, name: str = NAME) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None


def keep_signed_in(response: Response, signed_in: SignedIn, settings: Settings) -> None:
    """Both cookies of somebody who has just come in."""
    set_cookie(response, signed_in.token, settings)
    set_device(response, signed_in.device, settings)


def set_cookie(response: Response, token: str, settings: Settings) -> None:
    """For this browser until it is closed or the session ends; Secure exactly when people come by https."""
    response.set_cookie(NAME, token, httponly=True, samesite="lax", secure=_is_https(settings), path="/")


def set_device(response: Response, device: str, settings: Settings) -> None:
    response.set_cookie(
        DEVICE, device, max_age=DEVICE_SECONDS, httponly=True, samesite="lax", secure=_is_https(settings), path="/"
    )


def drop_cookie(response: Response, settings: Settings) -> None:
    """The device's stays: it is the same browser that signs in next time."""
    response.delete_cookie(NAME, httponly=True, samesite="lax", secure=_is_https(settings), path="/")


def _is_https(settings: Settings) -> bool:
    return (settings.public_url or "").startswith("https://")
