"""Fixtures that every room uses, and which tests may run side by side."""

import gc
from pathlib import Path

import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

from tests.databases import database, database_url, postgres_url, sqlite_url

__all__ = ["database", "database_url", "postgres_url", "sqlite_url"]

STREAMS = {"journeys": ("journeys",), "faults": ("faults", "gpu"), "training": ("contract", "harm", "worker")}


# A traceback with the variables of every frame takes seconds to draw, several times a test of errors.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


class Streams(LoadScopeScheduling):
    """A file's tests stay together, for what its module fixtures start, and so do rooms that take each other's time:

    whole installations one after another, faults likewise, and trainings. Each worker of `make test` begins with a
    stream; all other files go to whichever is free. (xdist's own groups are without effect from pytest 9.2 on.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return next((stream for stream, rooms in STREAMS.items() if file.split("/")[1] in rooms), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return Streams(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In which order they are given out: streams, then pages in a browser, of which a test takes seconds, the rest."""
    rooms = {room for stream in STREAMS.values() for room in stream}

    def turn(item: pytest.Item) -> int:
        if Path(item.path).relative_to(Path(__file__).parent).parts[0] in rooms:
            return 0
        return 1 if "chromium" in getattr(item, "fixturenames", ()) else 2

    items.sort(key=turn)


gc.disable()  # until all tests are collected: what they import stays, and looking through it took seconds each time


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What a file's tests leave behind stays (apps, engines, libraries): each training would look through all of it."""
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker `gpu` skips with a reason; torch is loaded for such tests alone."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"needs a CUDA device; torch {torch.__version__} sees none on this machine")
