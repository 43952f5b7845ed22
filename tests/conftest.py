"""Fixtures that every room uses, and which tests may run side by side."""

import gc
from pathlib import Path

import pytest
import structlog

from tests.databases import database, database_url, postgres_url, sqlite_url

__all__ = ["database", "database_url", "postgres_url", "sqlite_url"]

STREAMS = {"processes": {"faults", "gpu", "journeys"}, "training": {"contract", "harm", "worker"}}


# A traceback with the variables of every frame takes seconds to draw, several times a test of errors.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole installations one after another, and trainings one after another: more at once take each other's time.

    Of the two streams of `make test` each begins with one of these; all other tests go to whichever is free.
    """
    for item in items:
        room = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        for stream, rooms in STREAMS.items():
            if room in rooms:
                item.add_marker(pytest.mark.xdist_group(stream))


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
