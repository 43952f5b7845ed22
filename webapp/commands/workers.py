"""worker jobs | light | chat | health."""

import os
from typing import Annotated, Any, NoReturn

import typer

from models.domain.job import Lane
from webapp.commands.options import DataDir, byte_count, settings_from

Device = Annotated[str | None, typer.Option(help="cpu or cuda:N.", show_default="cpu")]
MemoryLimit = Annotated[
    int | None,
    typer.Option(parser=byte_count, metavar="BYTES", help="Most memory to use: 6000000000, 6GB or 6GiB."),
]

DeviceMemoryLimit = Annotated[
    int | None,
    typer.Option(parser=byte_count, metavar="BYTES", help="Most memory of a cuda:N to use; no effect on cpu."),
]

worker = typer.Typer(no_args_is_help=True, help="Start one worker of a lane, or ask whether the workers live.")


@worker.command()
def jobs(
    data_dir: DataDir = None,
    device: Device = None,
    memory_limit: MemoryLimit = None,
    device_memory_limit: DeviceMemoryLimit = None,
) -> None:
    """Train and merge. --memory-limit is the host memory of one job, --device-memory-limit its share of the GPU."""
    _become(
        Lane.JOBS, data_dir=data_dir, device=device, memory_limit_bytes=memory_limit,
        device_memory_bytes=device_memory_limit,
    )  # fmt: skip


@worker.command()
def light(data_dir: DataDir = None, memory_limit: MemoryLimit = None) -> None:
    """Check files and import base models."""
    _become(Lane.LIGHT, data_dir=data_dir, memory_limit_bytes=memory_limit)


@worker.command()
def chat(
    data_dir: DataDir = None,
    device: Device = None,
    memory_limit: MemoryLimit = None,
    device_memory_limit: DeviceMemoryLimit = None,
) -> None:
    """Answer. --memory-limit is what resident models may take, --device-memory-limit all of it on the GPU."""
    _become(
        Lane.CHAT, data_dir=data_dir, chat_device=device, chat_memory_bytes=memory_limit,
        chat_device_memory_bytes=device_memory_limit,
    )  # fmt: skip


def _become(lane: Lane, **options: Any) -> NoReturn:
    """Replace this process by the worker: the command line itself never loads what a worker needs."""
    from webapp.processes import environment, worker_command

    settings = settings_from(**options)
    command = worker_command(lane)
    os.execve(command[0], command, environment(settings))


@worker.command()
def health(
    data_dir: DataDir = None,
    lane: Annotated[list[Lane] | None, typer.Option(help="This lane only; repeat for several.")] = None,
) -> None:
    """Exit 0 if every lane asked for (all by default) has a worker that was seen within a lease."""
    from models.domain.errors import Unavailable
    from webapp.actions.readiness import live_workers
    from webapp.commands.opened import opened_deps

    wanted = lane or list(Lane)
    with opened_deps(settings_from(data_dir)) as deps:
        live = live_workers(deps)
    if live is None:
        raise Unavailable("The database does not answer, so nobody knows which workers live.")
    for one in wanted:
        typer.echo(f"{one}: {live[one]} live")
    if not all(live[one] for one in wanted):
        raise typer.Exit(1)
