"""Runs the web process until SIGTERM or SIGINT. One process a replica: more would each need their own streams."""

import uvicorn

from models.infra.settings import Settings
from webapp.app import make_app
from webapp.deps import Deps

SHUTDOWN_SECONDS = 5  # for streams that are still open


def serve(settings: Settings, fd: int | None = None) -> None:
    """Listen on host and port, or on the socket that `fd` is. Raises Invalid for an address that is not safe."""
    settings.check_bind()
    deps = Deps.open(settings)
    try:
        uvicorn.run(
            make_app(deps, with_pages=True),
            host=settings.host,
            port=settings.port,
            fd=fd,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies or None,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    finally:
        deps.close()
