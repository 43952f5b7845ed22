"""/api/v1: what OpenAI's interface has no word for. The same keys, the same error shape."""

from fastapi import APIRouter

from webapp.routes.api import adapters, bases, datasets, deleting, jobs, me, merges

router = APIRouter(prefix="/api/v1")
for _part in (adapters, datasets, merges, jobs, bases, me, deleting):
    router.include_router(_part.router)
