"""Fixtures that every room uses, and which tests may run side by side."""

from pathlib import Path

import pytest

from tests.databases import database, database_url, postgres_url

__all__ = ["database", "database_url", "postgres_url"]

ROOMS_WITH_PROCESSES = {"contract", "faults", "gpu", "journeys", "worker"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that train or start processes run one after another: torch on shared cores is many times slower.

    `make test` runs them in one stream and all others in a second one beside it.
    """
    for item in items:
        room = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        if room in ROOMS_WITH_PROCESSES:
            item.add_marker(pytest.mark.xdist_group("processes"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker `gpu` skips with a reason; torch is loaded for such tests alone."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"needs a CUDA device; torch {torch.__version__} sees none on this machine")
