"""What tests of the view share: the live application with its pages, and a way into its parts."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
from gradio.block_function import BlockFunction
from gradio.routes import App
from starlette.routing import Mount
from starlette.testclient import TestClient

from models.domain.access import Member
from models.infra.settings import Settings
from tests.house import House, Person, migrated_sqlite
from tests.webapp.served import serving
from webapp.actions.sessions import open_session
from webapp.app import make_app
from webapp.deps import Deps
from webapp.mounting import mount
from webapp.routes.cookie import NAME
from webapp.routes.view_wall import ViewWall

HASH = "a1b2c3d4e5"
PREDICT, JOIN = "/gradio_api/run/predict", "/gradio_api/queue/join"


@dataclass(frozen=True, kw_only=True)
class View:
    """A served application with pages. `browser(person)` speaks as that person's browser does."""

    house: House
    url: str

    @property
    def wall(self) -> ViewWall:
        return wall_of(self.house.client.app)

    @property
    def gradio(self) -> App:
        return next(route.app for route in self.wall.app.routes if isinstance(route, Mount))  # type: ignore

    @property
    def fns(self) -> dict[int, BlockFunction]:
        return self.gradio.get_blocks().fns

    def browser(self, person: Person | None = None) -> httpx.Client:
        headers = {"Origin": self.url}
        if person is not None:
            headers["Cookie"] = f"{NAME}={self.token(person)}"
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    def token(self, person: Person) -> str:
        who = person.principal
        return open_session(self.house.deps.database, who.user, who.team, address="127.0.0.1", agent="test")


@contextmanager
def viewing(folder: Path, demo: gr.Blocks | None = None, pages: tuple[str, ...] = ()) -> Iterator[View]:
    """On SQLite, without a broker; the pages of Tuneroom, or a `demo` of the test behind the same wall."""
    settings = migrated_sqlite(Settings(data_dir=folder / "data"))
    deps = Deps.open(settings)
    app = make_app(deps, with_pages=demo is None)
    if demo is not None:
        mount(app, demo, pages, settings.data_dir)
    house = House(deps=deps, client=TestClient(app, raise_server_exceptions=False))
    try:
        with serving(house) as served:
            yield View(house=house, url=served.url)
    finally:
        deps.close()


def wall_of(app: Any) -> ViewWall:
    found = [route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, ViewWall)]
    assert len(found) == 1
    return found[0]


def ask_all(wall: ViewWall, person: Person, asked: Iterable[tuple[str, str, Any]]) -> list[httpx.Response]:
    """The wall's own answers to (method, path, body), as behind the guard, without a server between."""
    who = person.principal
    member = Member(user=who.user, team=who.team, role=who.role)

    async def behind_guard(scope: Any, receive: Any, send: Any) -> None:
        await wall({**scope, "state": {"principal": member}}, receive, send)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(behind_guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [await client.request(method, path, json=body) for method, path, body in asked]

    return asyncio.run(ask())


def event(fn: int, data: list[Any], session_hash: str = HASH, **more: Any) -> dict[str, Any]:
    """The body of an event, as Gradio's own script sends it."""
    return {
        "data": data, "fn_index": fn, "session_hash": session_hash, "event_data": None, "trigger_id": None, **more,
    }  # fmt: skip


def told(stream: httpx.Response) -> Iterator[dict[str, Any]]:
    """The messages of an open queue stream."""
    for line in stream.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line[5:])
