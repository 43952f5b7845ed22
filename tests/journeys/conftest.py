"""What several journeys share: one installation with a tiny random base, started once."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.journeys.launched import without_bundled_base
from tests.tiny import tiny_base
from webapp.running import Running, running


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`tuneroom up` with the base `tiny`. For journeys that need no installation of their own: no restarts here."""
    home = tmp_path_factory.mktemp("app")
    tiny_base(home / "tiny")
    with ExitStack() as kept:
        with pytest.MonkeyPatch.context() as patch:  # for its start alone: other journeys begin while it runs
            without_bundled_base(home, patch)
            started = kept.enter_context(running(home / "var"))
        started.tuneroom("base", "add", str(home / "tiny"), "--name", "tiny")
        yield started
