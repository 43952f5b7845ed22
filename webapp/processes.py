"""How each process of an installation is started: its command and its environment. Starts none itself."""

import os
import sys
from pathlib import Path

from models.domain.job import Lane
from models.infra.settings import Settings

# -P keeps the working directory out of the import path: a folder named `models` there must not shadow ours.
_PYTHON = (sys.executable, "-P", "-m")


def web_command(listening_fd: int) -> tuple[str, ...]:
    return (*_PYTHON, "webapp", "web", "--fd", str(listening_fd))


def worker_command(lane: Lane) -> tuple[str, ...]:
    return (*_PYTHON, "worker.chat_app") if lane is Lane.CHAT else (*_PYTHON, "worker.jobs_app", lane.value)


def environment(settings: Settings) -> dict[str, str]:
    """For a process of the same installation: its settings equal ours."""
    return bare_environment() | settings.child_environment()


def web_environment(settings: Settings) -> dict[str, str]:
    """For the web process: its many threads share two arenas of memory. With one each, what forty people needed once
    stays in the process for good (measured: 12 MB of 26 in two minutes of twenty people)."""
    return {"MALLOC_ARENA_MAX": "2"} | environment(settings)


def bare_environment() -> dict[str, str]:
    """Without any setting of ours, and with our own code importable wherever it lies."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TUNEROOM_")}
    root = Path(__file__).resolve().parents[1]
    if root.name not in ("site-packages", "dist-packages"):  # installed: the interpreter finds us by itself
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), env.get("PYTHONPATH"))))
    return env | {"PYTHONUNBUFFERED": "1"}


def selftest_command(device: str) -> tuple[str, ...]:
    return (*_PYTHON, "worker.selftest", device)


def checking_command() -> tuple[str, ...]:
    return (*_PYTHON, "worker.data.checking")


def training_command() -> tuple[str, ...]:
    return (*_PYTHON, "worker.local.training")


def tuneroom_command(*arguments: str) -> tuple[str, ...]:
    return (*_PYTHON, "webapp", *arguments)
