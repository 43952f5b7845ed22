"""base add, base list, base token."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from webapp.commands.options import DataDir, settings_from

if TYPE_CHECKING:
    from models.domain.access import System
    from webapp.actions.show_jobs import JobSeen
    from webapp.deps import Deps

LOOK_EVERY_SECONDS = 0.5

base = typer.Typer(no_args_is_help=True, help="Base models of this installation.")


@base.command("add")
def add(
    reference: Annotated[str, typer.Argument(help="org/name[@revision] of the hub, a folder, or a .gguf file.")],
    data_dir: DataDir = None,
    name: Annotated[str | None, typer.Option(help="Public id.", show_default="from the reference")] = None,
    description: Annotated[str, typer.Option(help="A sentence for people.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the import to its end.")] = True,
) -> None:
    """Import a base model as a job of the lane `light`. `tuneroom up` must be running for it to begin."""
    from webapp.actions.add_base import add_base, wish_for_base
    from webapp.actions.speak_for_machine import speak_for_machine
    from webapp.commands.opened import opened_deps

    spec = wish_for_base(_absolute(reference), name or "", description)
    with opened_deps(settings_from(data_dir)) as deps:
        machine = speak_for_machine(deps)
        job = add_base(deps, machine, spec).job
        typer.echo(f"Importing {spec.name} as job {job.id}.")
        if wait:
            _follow(deps, machine, job.id)
            typer.echo(f"{spec.name} is ready.")


@base.command("list")
def show(data_dir: DataDir = None) -> None:
    """List the base models: name, millions of parameters, licence, where from."""
    from webapp.actions.show_models import list_bases
    from webapp.actions.speak_for_machine import speak_for_machine
    from webapp.commands.opened import opened_deps

    with opened_deps(settings_from(data_dir)) as deps:
        bases = list_bases(deps, speak_for_machine(deps))
    for row in bases:
        millions = row.facts["parameters"] / 1e6
        typer.echo(
            f"{row.name:<40} {millions:>8,.0f} M  {row.licence or 'unknown licence':<16} {row.facts['reference']}"
        )
    if not bases:
        typer.echo("No base model yet. `tuneroom base add org/name` imports one.")


@base.command("token")
def token(
    data_dir: DataDir = None,
    team: Annotated[str, typer.Option(help="Whose token it is.")] = "default",
) -> None:
    """Read a token of the model hub from stdin and keep it sealed, for gated models."""
    from webapp.actions.set_hub_token import set_hub_token
    from webapp.actions.speak_for_machine import speak_for_machine
    from webapp.commands.opened import opened_deps

    secret = typer.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    with opened_deps(settings_from(data_dir)) as deps:
        set_hub_token(deps, speak_for_machine(deps, team), secret)
    typer.echo(f"The token of the team {team} is stored, sealed.")


def _absolute(reference: str) -> str:
    """What names a place on this machine, made independent of where the worker runs."""
    is_path = reference.startswith((".", "/", "~")) or reference.lower().endswith(".gguf")
    return str(Path(reference).expanduser().resolve()) if is_path else reference


def _follow(deps: "Deps", machine: "System", job_id: str) -> None:
    """Show the job's progress until it has ended. Raises what it failed with."""
    from models.domain.errors import AppError, JobFailed, from_json
    from models.domain.job import JobState
    from webapp.actions.show_jobs import show_job
    from webapp.progress_line import ProgressLine

    with ProgressLine() as line:
        while not JobState((seen := show_job(deps, machine, job_id)).job.state).is_terminal:
            line.show(_doing(seen), seen.job.done, seen.job.total)
            time.sleep(LOOK_EVERY_SECONDS)
    job = seen.job
    if job.state != JobState.SUCCEEDED:
        failure: AppError = from_json(job.error) if job.error else JobFailed(f"The import was {job.state}.")
        raise failure


def _doing(seen: "JobSeen") -> str:
    if seen.job.state == "queued":
        return "waiting for a worker (is `tuneroom up` running?)"
    return seen.job.phase or "starting"
