"""Starts one child process for one job directory and ends it with its whole group. Knows no job and no database.

The child gets an environment made from nothing: no settings of ours, no credentials, no network for the hub, and
thread settings that keep torch usable beside busy processes.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from models.infra.quiet import QUIET
from worker.jobdir import JobDir
from worker.waiting import WAITING

KEPT = (
    "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip


class Child:
    """A running child, leader of its own session and process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self._process = process
        self._stdin = process.stdin
        os.set_blocking(self._stdin.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Looked at without reaping, so that its number, and its group's, stay taken until `reap`."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def feed(self) -> None:
        """One byte: the lease holds. A child that does not read, or is gone, is noticed elsewhere."""
        try:
            os.write(self._stdin.fileno(), b".")
        except (BlockingIOError, BrokenPipeError, ValueError):
            return

    def ask_to_end(self) -> None:
        """TERM: checkpoint and stop."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """KILL the whole group."""
        os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """End whatever is left of the group and return the child's exit code (negative: the signal)."""
        if self._process.returncode is None:
            self.kill()
            self._process.wait()
            self._stdin.close()
        assert self._process.returncode is not None
        return self._process.returncode

    def resident_bytes(self) -> int:
        """Of the child and everything in its session."""
        total = 0
        for pid in psutil.pids():
            try:
                if os.getsid(pid) == self.pid:
                    total += psutil.Process(pid).memory_info().rss
            except (ProcessLookupError, PermissionError, psutil.Error):
                continue
        return total


def spawn(jobdir: JobDir, threads: int) -> Child:
    """Start `worker.child` on a directory whose spec.json is written. Output goes to log.txt, never to a pipe."""
    with jobdir.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.child", str(jobdir.root)],
            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=jobdir.root,
            env=child_environment(jobdir.root, threads), start_new_session=True,
        )  # fmt: skip
    return Child(process)


def child_environment(home: Path, threads: int) -> dict[str, str]:
    """Made from nothing but the names in KEPT."""
    scratch = home / "tmp"
    scratch.mkdir(exist_ok=True)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {
        "HOME": str(home), "TMPDIR": str(scratch), "HF_HOME": str(scratch / "hf"),
        **QUIET,
        **WAITING, "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    root = Path(__file__).resolve().parents[1]
    if root.name not in ("site-packages", "dist-packages"):  # installed: the interpreter finds us by itself
        environment["PYTHONPATH"] = str(root)
    return environment


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
