"""up, web, demo: commands that serve until they are stopped."""

from typing import Annotated

import typer

from webapp.commands.options import DataDir, settings_from

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="7860", min=0, max=65535)
]


def up(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the app in a browser.")] = True,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    from webapp.up import up as keep_up

    keep_up(settings_from(data_dir, host=host, port=port), open_browser=open_browser)


def web(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    fd: Annotated[int | None, typer.Option(hidden=True, help="Serve on this listening socket.")] = None,
) -> None:
    """Start the web process alone (workers and broker are started elsewhere)."""
    from models.infra.lifeline import end_with_keeper
    from webapp.serve import serve

    end_with_keeper()
    serve(settings_from(data_dir, host=host, port=port), fd)


def demo(data_dir: DataDir = None) -> None:
    """Train, merge and ask a small real model through the app's own interface, then stop everything."""
    from webapp.demo import demo as show

    show(data_dir)
