"""Runs the web process until SIGTERM or SIGINT. One process a replica: more would each need their own streams."""

import contextlib
import gc
import logging
import os
import socket
import sys
import threading
import time

import structlog
import uvicorn

from models.db.migrations import head, revision_of
from models.domain.errors import AppError
from models.infra.lifeline import KEPT
from models.infra.settings import Settings
from webapp.actions.set_up import new_setup_link
from webapp.app import make_app
from webapp.deps import Deps

STARTUP_FAILURE = 3  # the exit code that uvicorn itself uses
SHUTDOWN_SECONDS = 5  # for streams that are still open
ASK_EVERY_SECONDS = 2.0


def serve(settings: Settings, fd: int | None = None) -> None:
    """Listen on host and port, or on the socket that `fd` is. Raises Invalid for an address that is not safe."""
    log_plainly()
    settings.check_bind()
    deps = Deps.open(settings)
    if KEPT not in os.environ:  # `up` says it itself, once a start
        threading.Thread(target=say_setup_link, args=(deps,), daemon=True).start()
    gc.disable()  # Gradio's modules and our pages all stay: no request has to look for garbage among them
    app = make_app(deps, with_pages=True)
    gc.freeze()
    gc.enable()
    try:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            # Named, so that the web process is the same beside libraries that bring others (trackio does).
            loop="asyncio",
            http="h11",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies or None,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        server = uvicorn.Server(config)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=None if fd is None else [inherited(fd)])
        if not server.started:
            sys.exit(STARTUP_FAILURE)
    finally:
        deps.close()


def inherited(fd: int) -> socket.socket:
    """The listening socket that `fd` is, with its true family and protocol.

    uvicorn's own `fd` takes it for a Unix socket. Then asyncio leaves Nagle's algorithm on, and each answer waits 40 ms
    for the reader's delayed acknowledgement between its head and its body, as does each token of a streamed one.
    """
    return socket.socket(fileno=fd)


def say_setup_link(deps: Deps, every_seconds: float = ASK_EVERY_SECONDS) -> None:
    """Once the database answers and is up to date; the web process may start before both."""
    while not deps.database.is_alive() or revision_of(deps.database.writer) != head():
        time.sleep(every_seconds)
    settings = deps.settings
    try:
        if link := new_setup_link(deps.database, settings.public_url or settings.local_url):
            print(f"Set up the first administrator: {link}", flush=True)
    except AppError as error:
        print(f"No setup link could be made: {error.message}", flush=True)


def log_plainly() -> None:
    """One line of facts each, to stderr. Tracebacks without local variables: those hold keys, cookies and tokens."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
