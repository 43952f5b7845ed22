"""Plain HTML answers, for where nobody is signed in yet: no Gradio, no inline script, nothing from elsewhere."""

from typing import Any

from starlette.responses import HTMLResponse

from models.domain.errors import AppError
from webapp.routes.answers import status_of, wait_of
from webapp.views.markup import render

PLAIN_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def plain(template: str, status: int = 200, **facts: Any) -> HTMLResponse:
    """The rendered page with the strict policy."""
    return HTMLResponse(render(template, **facts), status, headers={"Content-Security-Policy": PLAIN_CSP})


def refused(template: str, error: AppError, **facts: Any) -> HTMLResponse:
    """The same form again, with what was typed and the error, which says beside which field it belongs."""
    response = plain(template, status_of(error), error=error, **facts)
    response.headers.update(wait_of(error))
    return response


def gone(error: AppError) -> HTMLResponse:
    """For links that open nothing, whatever the reason."""
    return plain("gone.html", status_of(error), sentence=error.message)
