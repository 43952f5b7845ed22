"""/api/v1: what OpenAI's interface has no word for. The same keys, the same error shape."""

from fastapi import APIRouter

from webapp.routes.api import (
    account,
    adapters,
    bases,
    conversations,
    datasets,
    deleting,
    jobs,
    links,
    me,
    merges,
    people,
)

router = APIRouter(prefix="/api/v1")
for _part in (adapters, datasets, merges, jobs, bases, links, me, deleting, conversations, account, people):
    router.include_router(_part.router)
