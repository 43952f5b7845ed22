"""A stream that was opened in time ends soon after its caller may no longer be here (decision 14)."""

import time

import anyio
import pytest
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from models.db.tables import ApiKey, db_now
from webapp.actions.sessions import close_session, member_of_cookie, open_session
from webapp.routes.cookie import NAME
from webapp.routes.guard import Guard

LINE = "data: still here\n\n"


async def endless(scope, receive, send):
    """An event stream that only a closed tab ends, as Gradio's queue and heartbeat are."""

    async def lines():
        for _ in range(1000):  # 20 s: a stream that nobody ends fails the test
            yield LINE
            await anyio.sleep(0.02)

    await StreamingResponse(lines(), media_type="text/event-stream")(scope, receive, send)


@pytest.fixture
def streams(quick_house):
    return TestClient(Guard(endless, quick_house.deps, recheck_seconds=0.05))


def test_signing_out_ends_the_streams_of_that_browser_only(quick_house, streams):
    database, who = quick_house.deps.database, quick_house.person().principal
    token = open_session(database, who.user, who.team, address="", agent="")
    sign_in = member_of_cookie(database, token).sign_in
    assert sign_in is not None
    began = time.monotonic()
    with anyio.from_thread.start_blocking_portal() as portal:
        ended = portal.start_task_soon(anyio.to_thread.run_sync, lambda: read(streams, cookie=token))
        time.sleep(0.3)
        assert not ended.done()  # a caller who stays keeps the stream
        close_session(database, sign_in)
        assert LINE in ended.result(timeout=15)
    assert time.monotonic() - began < 15


def test_a_revoked_key_ends_its_streams(quick_house, streams):
    anna = quick_house.person()
    with anyio.from_thread.start_blocking_portal() as portal:
        ended = portal.start_task_soon(anyio.to_thread.run_sync, lambda: read(streams, key=anna.secret))
        time.sleep(0.2)
        assert not ended.done()
        with quick_house.deps.database.write() as session:
            session.get_one(ApiKey, anna.principal.key).revoked_at = db_now()
        assert LINE in ended.result(timeout=15)


def read(client: TestClient, cookie: str = "", key: str = "") -> str:
    headers = {"Cookie": f"{NAME}={cookie}"} if cookie else {"Authorization": f"Bearer {key}"}
    return client.get("/v1/stream", headers=headers).text
