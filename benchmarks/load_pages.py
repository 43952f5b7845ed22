"""Twenty signed-in people with open pages, for two minutes, against a real web process.

    python -m benchmarks.load_pages [--people 20] [--seconds 120]

Each person opens a page, then does every two seconds what the page's own timers do, reads the jobs by the programs'
interface as a page's button does, and goes on to the next page after twenty seconds. One run is in progress all the
while and says a step a second. Prints the percentiles of each route and the growth of the process's memory; writes
benchmarks/load_pages.json. The load and the server share this machine.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import secrets
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from models.db.store.system import SystemStore
from models.domain.access import Role
from models.domain.job import JobKind, Lane
from models.domain.progress import StepDone
from models.infra import valkey
from models.infra.settings import Settings
from tests.house import House, Person, migrated_sqlite, open_house
from webapp.actions.sessions import open_session
from webapp.health import is_healthy
from webapp.processes import tuneroom_command, web_environment
from webapp.routes.cookie import NAME

EVERY_SECONDS = 2.0
PAGE_SECONDS = 20.0
RUNS = 40
STEPS = 200
RESULT = Path(__file__).with_suffix(".json")
CONFIG = re.compile(r"window\.gradio_config = (\{.*?\});</script>", re.DOTALL)


@dataclass
class Measured:
    """Milliseconds of each route, and how many answers were 5xx or did not come."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: int = 0
    statuses: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def ask(
        self, client: httpx.AsyncClient, route: str, method: str, path: str, **options: Any
    ) -> httpx.Response:
        began = time.perf_counter()
        try:
            answer = await client.request(method, path, **options)
        except httpx.HTTPError:
            self.errors += 1
            raise
        self.times[route].append((time.perf_counter() - began) * 1000)
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500:
            self.errors += 1
            self.failed[f"{route}: {answer.text[:200]}"] += 1
        return answer


class Tab:
    """One page in one browser tab: what its load and its timers send, read from Gradio's own configuration."""

    def __init__(self, path: str, html: str) -> None:
        found = CONFIG.search(html)
        assert found is not None, f"{path} has no configuration"
        config = json.loads(found[1])
        self.path = path
        self.hash = secrets.token_hex(5)
        self._values = {one["id"]: one.get("props", {}).get("value") for one in config["components"]}
        here = {one["id"] for one in config["components"]}
        mine = [one for one in config["dependencies"] if set(one["inputs"]) <= here]
        self.loads = [one for one in mine if any(event == "load" for _, event in one["targets"])]
        self.ticks = [one for one in mine if any(event == "tick" for _, event in one["targets"])]

    def body(self, event: dict[str, Any]) -> dict[str, Any]:
        return {
            "data": [self._values[one] for one in event["inputs"]], "event_data": None, "fn_index": event["id"],
            "trigger_id": event["targets"][0][0], "session_hash": self.hash,
        }  # fmt: skip


async def person(url: str, token: str, pages: list[str], until: float, measured: Measured) -> None:
    cookies, headers = {NAME: token}, {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(base_url=url, cookies=cookies, headers=headers, trust_env=False, timeout=30) as client:
        turn = secrets.randbelow(len(pages))
        await asyncio.sleep(secrets.randbelow(2000) / 1000)
        while time.monotonic() < until:
            path = pages[turn % len(pages)]
            turn += 1
            route = path.partition("?")[0]
            opened = await measured.ask(client, f"GET {route}", "GET", path)
            tab = Tab(path, opened.text)
            told = {"Referer": url + path}
            left_at = min(until, time.monotonic() + PAGE_SECONDS)
            await _fire(client, measured, tab, tab.loads, f"load {route}", told)
            while time.monotonic() < left_at:
                began = time.monotonic()
                await _fire(client, measured, tab, tab.ticks, f"tick {route}", told)
                await measured.ask(client, "GET /api/v1/jobs", "GET", "/api/v1/jobs?limit=20")
                await asyncio.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - began)))


async def _fire(
    client: httpx.AsyncClient, measured: Measured, tab: Tab, events: list[dict[str, Any]], route: str, told: dict
) -> None:
    for event in events:
        await measured.ask(
            client, route, "POST", "/gradio_api/run/predict", json=tab.body(event), headers=told
        )  # fmt: skip


def furnish(house: House, people: int) -> tuple[list[Person], list[str], str]:
    """People, finished runs with their curves, and one run that goes on; returns (people, pages, running job)."""
    members = [house.person(Role.MEMBER) for _ in range(people)]
    base = house.base()
    ended = [house.trained(members[number % people], base) for number in range(RUNS)]
    spec = {"base": base, "data": {"training_file": house.upload(members[0], "now.jsonl").json()["id"]}}
    with house.deps.database.write() as session:
        from models.db.store.team import TeamStore

        running = TeamStore(session, members[0].principal).submit(JobKind.TRAIN, spec, priority=9).id
    with house.deps.database.write() as session:
        claimed = SystemStore(session).claim(Lane.JOBS, "worker-load", 24 * 3600)
        assert claimed is not None and claimed.id == running
    pages = [
        "/datasets", "/train", "/runs", f"/run?id={running}", f"/run?id={ended[0][0]}", "/adapters",
        f"/adapter?id={ended[0][1]}", "/playground", "/bases", "/team",
    ]  # fmt: skip
    return members, pages, running


def go_on(house: House, job: str, over: threading.Event) -> None:
    """A step a second, as a supervisor writes them."""
    step = 0
    while not over.wait(1.0):
        step += 1
        said = StepDone(
            at=datetime.now(UTC), step=step, total_steps=STEPS, epoch=0.1, loss_per_token=2.0 - step / STEPS,
            learning_rate=1e-4, grad_norm=1.0, trained_tokens=step * 100, step_seconds=1.0,
        )  # fmt: skip
        with house.deps.database.write() as session:
            SystemStore(session).record(job, 1, [said])


def measure(people: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tr-load-") as folder:
        port = _free_port()
        settings = migrated_sqlite(Settings(data_dir=Path(folder) / "data", port=port))
        broker, house = valkey.start(settings), open_house(settings)
        members, pages, running = furnish(house, people)
        tokens = [
            open_session(
                house.deps.database, one.principal.user, one.principal.team, address="127.0.0.1", agent="load"
            )
            for one in members
        ]  # fmt: skip
        url, over = f"http://127.0.0.1:{port}", threading.Event()
        writer = threading.Thread(target=go_on, args=(house, running, over))
        with (Path(folder) / "web.log").open("wb") as log:
            web = subprocess.Popen(tuneroom_command("web"), env=web_environment(settings), stdout=log, stderr=log)
        try:
            began = time.monotonic()
            while not is_healthy(url):
                assert web.poll() is None and time.monotonic() - began < 60, (Path(folder) / "web.log").read_text()
                time.sleep(0.1)
            writer.start()
            process = psutil.Process(web.pid)
            # Everything once before the memory is looked at: imports and caches are no growth.
            asyncio.run(_all(url, tokens[:2], pages, 2 * PAGE_SECONDS / 4, Measured()))
            before, measured = process.memory_info().rss, Measured()
            asyncio.run(_all(url, tokens, pages, seconds, measured))
            growth = process.memory_info().rss - before
        finally:
            over.set()
            web.terminate()
            web.wait(20)
            house.deps.close()
            if broker is not None:
                broker.stop()
    return _report(measured, people, seconds, before, growth)


async def _all(url: str, tokens: list[str], pages: list[str], seconds: float, measured: Measured) -> None:
    until = time.monotonic() + seconds
    await asyncio.gather(*(person(url, token, pages, until, measured) for token in tokens))


def _report(measured: Measured, people: int, seconds: float, before: int, growth: int) -> dict[str, Any]:
    routes = {route: _percentiles(times) for route, times in sorted(measured.times.items())}
    everything = [one for times in measured.times.values() for one in times]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "people": people, "seconds": seconds, "requests": len(everything), "all": _percentiles(everything),
        "statuses": {str(status): count for status, count in sorted(measured.statuses.items())},
        "errors_5xx": measured.errors, "failed": dict(measured.failed),
        "rss_before_mb": round(before / 1e6, 1), "rss_growth_mb": round(growth / 1e6, 1),
        "routes": routes,
    }  # fmt: skip


def _percentiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
    return {
        "count": len(times),
        "p50_ms": round(cuts[9], 1),
        "p95_ms": round(cuts[18], 1),
        "max_ms": round(max(times), 1),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--people", type=int, default=20)
    told.add_argument("--seconds", type=float, default=120)
    wish = told.parse_args()
    found = measure(wish.people, wish.seconds)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    for route, row in [("everything", found["all"]), *found["routes"].items()]:
        print(f"{route:<24} {row['count']:>6} p50 {row['p50_ms']:>8} p95 {row['p95_ms']:>8} max {row['max_ms']:>8} ms")
    print(f"5xx or no answer: {found['errors_5xx']}; statuses {found['statuses']}")
    for said, count in found["failed"].items():
        print(f"{count} x {said}")
    print(f"memory: {found['rss_before_mb']} MB, {found['rss_growth_mb']:+} MB")


if __name__ == "__main__":
    main()
