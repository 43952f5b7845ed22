"""The OpenAI-compatible interface, as the official client speaks it: see the notes on its exact objects."""

from fastapi import APIRouter

from webapp.routes.v1 import chat, files, jobs, models

router = APIRouter(prefix="/v1")
for _part in (files, jobs, models, chat):
    router.include_router(_part.router)
