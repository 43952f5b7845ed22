"""/healthz: this process answers. /readyz: everything needed to train and chat is there, or what is missing."""

import threading
import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from webapp.actions.readiness import Readiness, readiness
from webapp.deps import Deps
from webapp.routes.asking import Parts

ASKED_EVERY_SECONDS = 1.0


class Asked:
    """Asks the parts at most once a second, however many people without a key ask us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: tuple[float, Readiness] | None = None

    def readiness(self, deps: Deps) -> Readiness:
        with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > ASKED_EVERY_SECONDS:
                self._found = (time.monotonic(), readiness(deps))
            return self._found[1]


def router() -> APIRouter:
    """A router of its own for each application, with its own memory of what was asked."""
    health = APIRouter()
    asked = Asked()

    @health.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @health.get("/readyz")
    def readyz(parts: Parts) -> JSONResponse:
        found = asked.readiness(parts)
        body = {
            "status": "missing parts" if found.missing else "ok",
            "missing": found.missing,
            "workers": {lane.value: count for lane, count in found.workers.items()},
        }
        return JSONResponse(body, 503 if found.missing else 200)

    return health
