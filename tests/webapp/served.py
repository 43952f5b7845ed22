"""The application on a real server with a real broker, for tests that need sockets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import openai
import uvicorn
from starlette.types import ASGIApp

from tests.house import House, Person


@dataclass(frozen=True, kw_only=True)
class Served:
    """`requests` counts what reached the server."""

    house: House
    url: str
    requests: list[str]

    def openai(self, person: Person, **options) -> openai.OpenAI:
        client = httpx.Client(trust_env=False, timeout=30)
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=person.secret, http_client=client, **options)


@contextmanager
def serving(house: House, port: int = 0) -> Iterator[Served]:
    """On `port`, or on a free one."""
    requests: list[str] = []
    bound = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sends at once only where a socket says that it is TCP
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.listen()  # whoever comes before the server is up waits, and is not refused
    server = uvicorn.Server(
        uvicorn.Config(
            _counted(house.client.app, requests),
            log_level="error",
            timeout_graceful_shutdown=2,
            loop="asyncio",
            http="h11",
            ws="none",
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield Served(house=house, url=f"http://127.0.0.1:{bound.getsockname()[1]}", requests=requests)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


def _counted(app: ASGIApp, requests: list[str]) -> ASGIApp:
    async def counting(scope, receive, send):
        if scope["type"] == "http":
            requests.append(f"{scope['method']} {scope['path']}")
        await app(scope, receive, send)

    return counting
