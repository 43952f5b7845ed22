"""`tuneroom up`: one data directory, one address, and the processes that serve it. Knows no job and no user."""

import shutil
import socket
import subprocess
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import IO

import structlog

from models.db.engine import Database
from models.db.migrations import migrate
from models.domain.errors import AppError, Code, Invalid, Unavailable
from models.domain.job import Lane
from models.infra import valkey
from models.infra.lifeline import KEPT, when_keeper_ends
from models.infra.settings import Settings
from webapp.actions.ensure_bundled_base import BUNDLED_BASE, ensure_bundled_base
from webapp.actions.ensure_samples import ensure_samples
from webapp.actions.set_up import new_setup_link
from webapp.deps import Deps
from webapp.health import has_pages, is_healthy
from webapp.keeper import Keeper, StopWish
from webapp.kept import Part, process
from webapp.local_disk import check_local_disk
from webapp.ownership import ownership
from webapp.processes import environment, web_command, web_environment, worker_command

WEB_GRACE_SECONDS = 10.0
WORKER_SLACK_SECONDS = 12.0  # after drain_seconds a worker needs up to 10 s to settle, and ends itself
VALKEY_GRACE_SECONDS = 10.0
LISTEN_BACKLOG = 512


def up(settings: Settings, *, open_browser: bool) -> None:
    """Serve until SIGINT or SIGTERM. Raises Conflict when another `up` holds the directory, Invalid on its address."""
    settings.check_bind()
    if settings.database_url is None:
        check_local_disk(settings.data_dir)
    with ownership(settings.data_dir), _listen(settings.host, settings.port) as listener:
        settings = Settings(**settings.model_dump() | {"port": listener.getsockname()[1]})
        _log_to(settings.data_dir / "logs" / "keeper.log")
        _migrate(settings)
        say(f"Starting on {settings.data_dir}")
        stop = StopWish()
        when_keeper_ends(stop.ask)  # the demo keeps us as we keep the rest
        with stop.on_signals():
            threading.Thread(target=_announce, args=(settings, open_browser, stop), daemon=True).start()
            Keeper(settings.data_dir, url_of(settings), _parts(settings, listener.fileno()), say).run(stop)
        _clear(settings)
        say("Stopped.")


def say(sentence: str) -> None:
    """A plain line for the terminal, at once even into a pipe."""
    print(sentence, flush=True)


def url_of(settings: Settings) -> str:
    """Where this machine reaches the app; links for people say `public_url`."""
    return settings.local_url


def _listen(host: str, port: int) -> socket.socket:
    """Bound here and inherited by the web process, so that a restart of it loses no connection and no port."""
    try:
        return socket.create_server((host, port), family=_family(host), backlog=LISTEN_BACKLOG)
    except OSError as error:
        raise Invalid(
            f"Nothing can listen on {host}, port {port}: {error.strerror}. Free it, or choose another with --port "
            "(0 takes a free one).",
            code=Code.INVALID_SETTING,
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _migrate(settings: Settings) -> None:
    database = Database(settings.database)
    try:
        before, after = migrate(database)
    finally:
        database.close()
    if before != after:
        say(f"The database is now at revision {after}" + (f" (was {before})." if before else "."))


def _parts(settings: Settings, listening_fd: int) -> list[Part]:
    """In starting order; they end as `stop_order` says: web, then workers together, then the broker."""
    logs, env = settings.data_dir / "logs", environment(settings) | {KEPT: "1"}
    web = Part(
        name="web", start=process(web_command(listening_fd), web_environment(settings) | {KEPT: "1"}, [listening_fd]),
        log=logs / "web.log", stop_order=0, grace_seconds=WEB_GRACE_SECONDS,
        is_ready=lambda: is_healthy(url_of(settings)),
    )  # fmt: skip
    workers = [
        Part(
            name=f"worker-{lane}", start=process(worker_command(lane), env), log=logs / f"worker-{lane}.log",
            stop_order=1, grace_seconds=settings.drain_seconds + WORKER_SLACK_SECONDS,
        )
        for lane in (Lane.LIGHT, Lane.JOBS, Lane.CHAT)
    ]  # fmt: skip
    if settings.redis_url is not None:
        return [web, *workers]
    broker = Part(
        name="valkey", start=_valkey(settings), log=settings.data_dir / "valkey" / "valkey.log",
        stop_order=2, grace_seconds=VALKEY_GRACE_SECONDS,
    )  # fmt: skip
    return [broker, web, *workers]


def _valkey(settings: Settings) -> Callable[[IO[bytes]], subprocess.Popen[bytes]]:
    def start(_log: IO[bytes]) -> subprocess.Popen[bytes]:
        server = valkey.start(settings)
        if server is None or server.process is None:
            raise Unavailable(
                f"A broker that this command did not start answers on {settings.redis_socket}. End it first."
            )
        return server.process

    return start


def _announce(settings: Settings, open_browser: bool, stop: StopWish) -> None:
    """Say the address once the app answers there, then add what comes with the installation, if it is not there."""
    url, began = url_of(settings), time.monotonic()
    while not is_healthy(url):
        if stop.wait(0.1):
            return
    say(f"Tuneroom answers at {url} (after {time.monotonic() - began:.1f} s). Ctrl-C stops it.")
    _say_setup_link(settings)
    if open_browser and has_pages(url):
        webbrowser.open(settings.public_url or url)
    _furnish(settings)


def _say_setup_link(settings: Settings) -> None:
    """Once a start, and only while nobody administers this installation."""
    database = Database(settings.database)
    try:
        if link := new_setup_link(database, settings.public_url or settings.local_url):
            say(f"Set up the first administrator: {link}")
    except AppError as error:
        say(f"No setup link could be made: {error.message}")
    finally:
        database.close()


def _furnish(settings: Settings) -> None:
    """The samples and the bundled base model, as jobs that anyone can follow."""
    deps = Deps.open(settings)
    try:
        if added := ensure_samples(deps):
            say(f"Added {len(added)} sample datasets.")
        if seen := ensure_bundled_base(deps):
            say(f"Importing the base model {BUNDLED_BASE} as job {seen.job.id}; /v1/models will list it.")
    except AppError as error:
        say(f"The samples or the bundled base model could not be added: {error.message}")
    finally:
        deps.close()


def _clear(settings: Settings) -> None:
    """Sockets of a data directory with a long path lie elsewhere; that place goes with us."""
    if settings.runtime_dir.parent != settings.data_dir:
        shutil.rmtree(settings.runtime_dir, ignore_errors=True)


def _log_to(path: Path) -> None:
    """The keeper's own log lines go to a file; the terminal shows only what `say` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(path.open("a")))
