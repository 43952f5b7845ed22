"""Builds the web application: door, guard, routes, and the pages mounted last. Knows no verb and no SQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from models.infra.care import Carer
from models.infra.sweep import Sweeper
from webapp.deps import Deps
from webapp.routes import api, assets, entrance, health, home, invite, links, setup, v1
from webapp.routes.answers import answer_errors
from webapp.routes.body_limit import BodyLimit
from webapp.routes.door import Door
from webapp.routes.guard import Guard

ROUTERS = (
    v1.router,
    api.router,
    assets.router,
    entrance.router,
    home.router,
    links.router,
    setup.router,
    invite.router,
)


def make_app(deps: Deps, *, with_pages: bool = False) -> FastAPI:
    """The order matters: the door sees every failure, the guard every request, the limit what they may read.

    `with_pages` imports Gradio, which takes seconds; the programs' interface does without.
    """
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
    for router in (health.router(), *ROUTERS):
        app.include_router(router)
    if with_pages:
        from webapp.mounting import mount_pages

        mount_pages(app, deps)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    deps: Deps = app.state.deps
    sweeper = Sweeper(deps.database, deps.broker, deps.settings, has_workers_disk=False).start()
    carer = Carer(deps.database, deps.storage, deps.settings).start()
    yield
    carer.stop()
    await anyio.to_thread.run_sync(sweeper.stop)
    await deps.streams.close_async()
