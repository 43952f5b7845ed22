"""Plain HTML answers, for where nobody is signed in yet: no Gradio, no inline script, nothing from elsewhere."""

from typing import Any

from starlette.responses import HTMLResponse

from webapp.views.markup import render

PLAIN_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def plain(template: str, status: int = 200, **facts: Any) -> HTMLResponse:
    """The rendered page with the strict policy."""
    return HTMLResponse(render(template, **facts), status, headers={"Content-Security-Policy": PLAIN_CSP})
