"""The child that renders for others: bounded, replaced, and never left behind."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from models.domain.errors import AppError
from tests.harness import living_children, wait_for
from tests.text_bases import BOMBS, text_base
from worker.data.sandbox import Ended, Sandbox
from worker.data.sandbox_child import MEMORY_BYTES, ORPHAN_SECONDS

HARMLESS = {"messages": [{"role": "user", "content": "Who?"}], "arguments": {}}
HANGING = {"messages": [{"role": "user", "content": "hang"}], "arguments": {}}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = text_base(tmp_path_factory.mktemp("base"), "chatml")
    (folder / "chat_template.jinja").write_text(BOMBS + (folder / "chat_template.jinja").read_text())
    return folder


@pytest.fixture
def sandbox():
    made = Sandbox(row_seconds=0.5)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def others() -> set[psutil.Process]:
    """What runs beside the sandboxes of a test: earlier modules may have left something of theirs."""
    return living_children()


@pytest.fixture
def child(others: set[psutil.Process]) -> Callable[[], psutil.Process]:
    def find() -> psutil.Process:
        (found,) = living_children() - others
        return found

    return find


def test_each_request_has_its_own_time_however_long_the_child_lives(sandbox, base, child):
    sandbox.ask(base, "prompt", HARMLESS)
    used = sum(child().cpu_times()[:2])
    child().rlimit(psutil.RLIMIT_CPU, (int(used) + 2, resource.RLIM_INFINITY))  # as if it had worked for long
    sandbox.ask(base, "prompt", HARMLESS)
    soft, _ = child().rlimit(psutil.RLIMIT_CPU)
    assert soft >= used + ORPHAN_SECONDS - 1
    assert child().rlimit(psutil.RLIMIT_AS) == (MEMORY_BYTES, MEMORY_BYTES)


def test_a_child_that_was_killed_is_replaced_without_a_word(sandbox, base, child):
    before = sandbox.ask(base, "prompt", HARMLESS)
    first = child()
    first.kill()
    assert sandbox.ask(base, "prompt", HARMLESS) == before
    assert child().pid != first.pid


def test_a_child_that_hangs_is_ended_and_knows_no_secret(sandbox, base, child, others):
    os.environ["TUNEROOM_SECRET_OF_A_TEST"] = "planted"
    try:
        sandbox.ask(base, "prompt", HARMLESS)
    finally:
        del os.environ["TUNEROOM_SECRET_OF_A_TEST"]
    assert "planted" not in child().environ().values()
    assert isinstance(sandbox.tell(base, "prompt", HANGING), Ended)
    assert living_children() <= others


def test_nothing_is_started_once_it_is_closed(base, others):
    sandbox = Sandbox()
    sandbox.kill()
    with pytest.raises(AppError, match="stopped"):
        sandbox.ask(base, "prompt", HARMLESS)
    assert living_children() <= others


def test_a_child_ends_when_its_parent_is_killed(base):
    program = (
        "import sys, time; from pathlib import Path; from worker.data.sandbox import Sandbox\n"
        f"s = Sandbox(); s.ask(Path({str(base)!r}), 'prompt', {HARMLESS!r}); print(s._child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    began = time.monotonic()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 10)
    assert time.monotonic() - began < 10
