"""The outermost layer: security headers on every answer, and the one place that catches what nobody expected."""

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.domain.errors import Code
from models.domain.ids import new_id
from webapp import words
from webapp.routes.answers import respond, shape
from webapp.routes.masking import masked

log = structlog.get_logger()

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with it browsers send "Origin: null" with our own forms, which the guard must refuse.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Door:
    """An unexpected exception becomes an error id for the client and a traceback for the log, never both."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            error_id = new_id("err")
            path = masked(scope["path"])
            log.error("unexpected error", error_id=error_id, method=scope["method"], path=path, exc_info=error)
            if has_started:
                return  # the connection is cut short, which the client notices
            body = shape(500, words.unexpected(error_id), Code.INTERNAL)
            await respond(500, body, scope["method"])(scope, receive, send_with_headers)
