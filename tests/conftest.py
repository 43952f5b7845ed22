"""Fixtures that every room uses, and which tests may run side by side."""

import gc
from pathlib import Path

import pytest
import structlog

from tests.databases import database, database_url, postgres_url, sqlite_url

__all__ = ["database", "database_url", "postgres_url", "sqlite_url"]

STREAMS = ({"journeys"}, {"faults", "gpu"}, {"contract", "harm", "worker"})


# A traceback with the variables of every frame takes seconds to draw, several times a test of errors.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay together, for what its module fixtures start; and so do rooms that take each other's time.

    Whole installations one after another, faults likewise, and trainings: of the workers of `make test` each begins
    with one of these streams, and all other files go to whichever is free, browsers first.
    """
    for item in items:
        path = Path(item.path).relative_to(Path(__file__).parent)
        stream = next(("-".join(sorted(rooms)) for rooms in STREAMS if path.parts[0] in rooms), None)
        item.add_marker(pytest.mark.xdist_group(stream or path.as_posix()))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Streams begin; then pages, of which a test takes seconds; then the rest."""
    path = Path(item.path).relative_to(Path(__file__).parent)
    if any(path.parts[0] in rooms for rooms in STREAMS):
        return 0
    return 1 if "chromium" in item.fixturenames else 2  # type: ignore[attr-defined]


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
