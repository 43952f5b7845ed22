"""Builds the web application: door, guard, routes. Knows no verb and no SQL; pages will be mounted last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from webapp.deps import Deps
from webapp.routes import api, health, v1
from webapp.routes.answers import answer_errors
from webapp.routes.door import Door
from webapp.routes.guard import Guard

BODY_LIMIT_BYTES = 1_000_000
FORM_ALLOWANCE_BYTES = 100_000  # boundaries and fields around an upload


def make_app(deps: Deps) -> FastAPI:
    """The order matters: the door sees every failure, the guard every request, limits count what a route reads."""
    app = FastAPI(
        title="Tuneroom",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[Middleware(Door), Middleware(Guard, deps=deps)],
    )
    app.state.deps = deps
    upload_limit = deps.settings.max_upload_bytes
    answer_errors(app, upload_limit_bytes=upload_limit, body_limit_bytes=BODY_LIMIT_BYTES)
    app.include_router(health.router(), max_body_size=BODY_LIMIT_BYTES)
    app.include_router(v1.uploads, max_body_size=upload_limit + FORM_ALLOWANCE_BYTES)
    app.include_router(v1.router, max_body_size=BODY_LIMIT_BYTES)
    app.include_router(api.router, max_body_size=BODY_LIMIT_BYTES)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    deps: Deps = app.state.deps
    yield
    await deps.streams.close_async()
