"""S17 in a real browser: a page of another origin, opened by somebody who is signed in here, changes and reads nothing.

Twice: from another site (`localhost`), where the browser keeps the cookie back, and from another port of this very
host, which browsers count as the same site, so the cookie does come along and only the guard stands between.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page

from models.db.tables import Invitation, SignIn, User
from models.domain.access import Role
from tests.browser import Site, chromium, site

__all__ = ["chromium", "site"]

# Each answers with a word; "read" and "open" would mean that the other page got something.
TRIES = """async (home) => {
  const told = {};
  const form = (path, fields) => new Promise((done) => {
    const frame = Object.assign(document.createElement("iframe"), { name: "f" + Math.random() });
    const made = document.createElement("form");
    Object.assign(made, { method: "POST", action: home + path, target: frame.name });
    for (const [name, value] of Object.entries(fields))
      made.append(Object.assign(document.createElement("input"), { name, value }));
    document.body.append(frame, made);
    frame.onload = () => done();
    setTimeout(done, 1500);
    made.submit();
  });
  await form("/logout", {});
  await form("/team/switch", { team: "team-default" });
  await form("/login", { email: "eve@example.org", password: "eve eve eve eve" });
  const body = JSON.stringify({ role: "owner", email: null });
  for (const [name, options] of Object.entries({
    simple: { method: "POST", body, mode: "no-cors" },
    typed: { method: "POST", body, headers: { "Content-Type": "application/json" } },
    get: { method: "GET" },
  })) {
    for (const path of ["/api/v1/invitations", "/api/v1/me", "/gradio_api/queue/join", "/gradio_api/run/predict"]) {
      try {
        const answer = await fetch(home + path, { ...options, credentials: "include" });
        told[name + path] = answer.type === "opaque" ? "opaque" : "read";
      } catch { told[name + path] = "refused"; }
    }
  }
  told.events = await new Promise((done) => {
    const source = new EventSource(home + "/gradio_api/queue/data?session_hash=abc", { withCredentials: true });
    source.onopen = () => done("open");
    source.onerror = () => done("refused");
  });
  told.socket = await new Promise((done) => {
    const socket = new WebSocket(home.replace("http", "ws") + "/gradio_api/queue/join");
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
  });
  return told;
}"""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["another site", "another port"])
def test_a_page_of_another_origin_changes_and_reads_nothing(site: Site, host: str):
    owner = site.person(Role.OWNER)
    context = site.context(owner)
    ours = context.new_page()
    ours.goto(site.url + "/datasets")
    ours.get_by_role("heading", name="Datasets").wait_for()
    before = state(site)
    with another_site() as port:
        theirs = context.new_page()
        theirs.goto(f"http://{host}:{port}/")
        told = theirs.evaluate(TRIES, site.url)
        site.outside.clear()  # the other page, which this test opened itself
    assert set(told.values()) <= {"refused", "opaque"}, told
    assert told["events"] == told["socket"] == "refused"
    assert state(site) == before
    assert is_signed_in(ours)


def test_the_same_tries_from_our_own_page_do_succeed(site: Site):
    """So that the test above fails if its tries could never have worked."""
    ours = site.page(site.person(Role.OWNER), "/datasets")
    ours.get_by_role("heading", name="Datasets").wait_for()
    before = state(site)
    made = ours.evaluate(
        """async () => (await fetch("/api/v1/invitations", { method: "POST", body: JSON.stringify({ role: "viewer" }),
        headers: { "Content-Type": "application/json" } })).status"""
    )
    assert made in (200, 201)
    assert state(site) != before
    ours.evaluate("async () => { await fetch('/logout', { method: 'POST' }) }")
    assert not is_signed_in(ours)


def state(site: Site) -> tuple[list[str], list[str], list[str]]:
    """Who is there, who is signed in where, and who is invited."""
    with site.house.deps.database.read() as session:
        people = sorted(row.id for row in session.query(User))
        signed_in = sorted(f"{row.id} {row.team_id} {row.revoked_at}" for row in session.query(SignIn))
        return people, signed_in, sorted(row.id for row in session.query(Invitation))


def is_signed_in(page: Page) -> bool:
    answer = page.request.get(page.url.split("/datasets")[0] + "/api/v1/me", fail_on_status_code=False)
    return answer.ok and bool(json.loads(answer.text()))


@contextmanager
def another_site() -> Iterator[int]:
    """An empty page on a port of its own."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Elsewhere</title><body>")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
