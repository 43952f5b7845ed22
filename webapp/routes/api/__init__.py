"""/api/v1: what OpenAI's interface has no word for. The same keys, the same error shape."""

from fastapi import APIRouter

from webapp.routes.api import (
    account,
    adapters,
    bases,
    conversations,
    data_changes,
    data_gate,
    datasets,
    deleting,
    jobs,
    like_rows,
    links,
    me,
    merges,
    people,
    presets,
    sweeps,
    trackers,
)

router = APIRouter(prefix="/api/v1")
for _part in (
    adapters,
    datasets,
    data_gate,
    data_changes,
    merges,
    jobs,
    like_rows,
    sweeps,
    bases,
    links,
    me,
    deleting,
    conversations,
    account,
    people,
    presets,
    trackers,
):
    router.include_router(_part.router)
