"""What a page costs a browser to open and to leave open, and what an answer waits, each beside what libraries do.

    python -m benchmarks.open_pages [--rounds 5] [--idle 10]

Two applications on this machine, by turns: Tuneroom, and Tuneroom with Gradio's scripts as they are, without
`webapp/lighter_script.py`. Chromium opens each page anew and leaves it open; its processes' time is read from the
system, its frames are counted in the page. Then the same small answer, over a connection that stays open, from a socket
that `webapp.serve.inherited` took over and from one that uvicorn took over by `fd`, by turns. Prints medians and writes
benchmarks/open_pages.json. Needs Chromium and the extra `test`.
"""

import argparse
import json
import platform
import socket
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

import webapp.mounting
from models.infra import valkey
from models.infra.settings import Settings
from tests.browser import FLAGS, Site, find_chromium
from tests.house import House, migrated_sqlite
from tests.webapp.served import serving
from webapp.app import make_app
from webapp.deps import Deps
from webapp.serve import inherited

PAGES = ("/train", "/datasets")
ANSWERS = 50
RESULT = Path(__file__).with_suffix(".json")
COUNT_FRAMES = """
window.frames_asked = 0;
const ask = window.requestAnimationFrame;
window.requestAnimationFrame = (then) => { window.frames_asked++; return ask(then); };
"""


@contextmanager
def site_of(browser: Browser, folder: Path, *, is_plain: bool) -> Iterator[Site]:
    """The served application with one base model; `is_plain` leaves Gradio's scripts as they are."""
    folder.mkdir()
    settings = migrated_sqlite(Settings(data_dir=folder))
    broker = valkey.start(settings)
    assert broker is not None
    deps = Deps.open(settings)
    try:
        with patch.object(
            webapp.mounting, "lighter_scripts", (lambda _: []) if is_plain else webapp.mounting.lighter_scripts
        ):
            app = make_app(deps, with_pages=True)
        house = House(deps=deps, client=TestClient(app))
        house.base("tiny")
        with serving(house) as served:
            yield Site(house=house, url=served.url, browser=browser)
    finally:
        deps.close()
        broker.stop()


def renderer_seconds() -> float:
    """Processor time of Chromium's page processes so far."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in process.cmdline():
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue
    return total


def opened(site: Site, path: str, idle: float) -> dict[str, float]:
    """Seconds of the browser's processor to open the page, and what it takes while nobody touches it."""
    context = site.context(site.person())
    context.add_init_script(COUNT_FRAMES)
    before, page = renderer_seconds(), context.new_page()
    page.goto(site.url + path)
    page.locator(".tr-right").wait_for()
    page.wait_for_timeout(4000)
    after, frames = renderer_seconds(), page.evaluate("window.frames_asked")
    page.wait_for_timeout(idle * 1000)
    found = {
        "opening_s": after - before,
        "idle_share": (renderer_seconds() - after) / idle,
        "frames_a_second": (page.evaluate("window.frames_asked") - frames) / idle,
    }
    context.close()
    return found


def answer_ms(*, is_plain: bool) -> float:
    """The median of a small answer's milliseconds, from a listening socket that was handed over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, fd = listening.getsockname()[1], listening.detach()
    config = uvicorn.Config(
        PlainTextResponse("x" * 200), fd=fd if is_plain else None, log_level="error", http="h11", loop="asyncio"
    )
    server = uvicorn.Server(config)
    sockets = None if is_plain else [inherited(fd)]
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, daemon=True)
    thread.start()
    times = []
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(ANSWERS):
            began = time.perf_counter()
            client.get("/").raise_for_status()
            times.append((time.perf_counter() - began) * 1000)
    server.should_exit = True
    thread.join()
    return statistics.median(times)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--idle", type=float, default=10.0)
    told = asked.parse_args()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        stack.callback(browser.close)
        sides = {
            name: stack.enter_context(site_of(browser, Path(folder, name), is_plain=name == "plain"))
            for name in ("tuneroom", "plain")
        }
        for turn in range(told.rounds + 1):
            for name, site in sides.items():
                for path in PAGES:
                    for figure, value in opened(site, path, told.idle).items():
                        if turn:  # the first of each warms what both share
                            found[name][f"{path} {figure}"].append(value)
                found[name]["answer_ms"].append(answer_ms(is_plain=name == "plain"))
    medians: dict[str, Any] = {
        name: {figure: round(statistics.median(values), 4) for figure, values in figures.items()}
        for name, figures in found.items()
    }
    for figure, mine in medians["tuneroom"].items():
        print(f"{figure:28s} Tuneroom {mine:8.3f}   as libraries do {medians['plain'][figure]:8.3f}")
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": psutil.cpu_count(),
        "machine": platform.machine(),
    }
    RESULT.write_text(json.dumps(facts | {"rounds": told.rounds, "idle_s": told.idle} | medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
