"""Builds the web application: door, guard, routes. Knows no verb and no SQL; pages will be mounted last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from models.infra.sweep import Sweeper
from webapp.deps import Deps
from webapp.routes import api, health, v1
from webapp.routes.answers import answer_errors
from webapp.routes.body_limit import BodyLimit
from webapp.routes.door import Door
from webapp.routes.guard import Guard


def make_app(deps: Deps) -> FastAPI:
    """The order matters: the door sees every failure, the guard every request, the limit what they may read."""
    app = FastAPI(
        title="Tuneroom",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[
            Middleware(Door),
            Middleware(Guard, deps=deps),
            Middleware(BodyLimit, max_upload_bytes=deps.settings.max_upload_bytes),
        ],
    )
    app.state.deps = deps
    answer_errors(app)
    for router in (health.router(), v1.router, api.router):
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    deps: Deps = app.state.deps
    sweeper = Sweeper(deps.database, deps.broker, deps.settings).start()
    yield
    await anyio.to_thread.run_sync(sweeper.stop)
    await deps.streams.close_async()
