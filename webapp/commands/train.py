"""train: one training on this machine, with no server. The work is done by a worker process of its own."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from webapp.commands.options import settings_from

if TYPE_CHECKING:
    from models.domain.local_training import LocalEnded, LocalRequest
    from webapp.commands.train_told import Progress

EXIT = {"succeeded": 0, "failed": 1, "unusable": 2, "interrupted": 130}


def train(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="Settings, as the page Train copies them.")],
    local: Annotated[
        Path, typer.Option("--local", metavar="OUT_DIR", help="Train here, and leave adapter and report there.")
    ],
    base: Annotated[
        str | None,
        typer.Option(metavar="ID_OR_PATH", help="A folder, a .gguf file, the bundled id or org/name of the hub."),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Rows to train on. Repeatable: one dataset, in order.")
    ] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Rows to validate on. Repeatable.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="F", help="Read the rows as this format.", show_default="detected")
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Take a field of the format from this column. Repeatable."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda:N.", show_default="cpu")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.", show_default="all cores")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT_DIR's newest checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON; progress goes to stderr.")] = False,
) -> None:
    """Train without a server: base as id or folder, data as file paths, settings from a YAML file.

    Exit code 0: done. 1: it failed. 2: the order cannot be used. 130: interrupted, with a checkpoint to go on from.
    """
    from models.domain.errors import AppError
    from models.domain.local_training import LocalEnded
    from webapp.commands.datasets import reading_from
    from webapp.commands.train_order import Given, order
    from webapp.commands.train_told import Progress, tell

    began_at = time.time()
    reading = reading_from(form, mapped or [])
    try:
        settings = settings_from(None, device=device, threads=threads)
        given = Given(
            job=job, out=local, base=base, data=data or [], validation=validation or [], reading=reading,
            is_resumed=resume,
        )  # fmt: skip
        request = order(given, settings, began_at)
        with Progress(sys.stderr if as_json else sys.stdout) as progress:
            ended = _asked(request, progress)
    except AppError as error:
        ended = LocalEnded(status="unusable", error=error.to_json())
    if as_json:
        typer.echo(json.dumps(ended.model_dump(mode="json"), indent=1))
    else:
        tell(ended, local)
    raise typer.Exit(EXIT[ended.status])


def _asked(request: "LocalRequest", progress: "Progress") -> "LocalEnded":
    """Ask a worker process, pass on what it says, and pass on to it what a person wishes by Ctrl-C or TERM."""
    from models.domain.errors import AppError
    from models.domain.local_training import LocalEnded
    from webapp.processes import bare_environment, training_command

    process = subprocess.Popen(
        training_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment(), cwd="/",
        start_new_session=True,  # Ctrl-C is ours to hear: we ask for a checkpoint
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None

    def stop(*_: Any) -> None:
        progress.note("Stopping: the training saves a checkpoint first. Once more ends it at once.")
        process.terminate()

    last, before = b"", [signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        for last in process.stdout:
            if not last.startswith(b'{"status"'):
                progress.show(json.loads(last))
    except BrokenPipeError:  # it has said on stderr why it ended
        pass
    finally:
        process.stdin.close()
        process.wait()
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    if process.returncode != 0 or not last.startswith(b'{"status"'):
        error = AppError(
            f"the training broke off with code {process.returncode}; what it said stands above. Try again."
        )
        return LocalEnded(status="failed", error=error.to_json())
    return LocalEnded.model_validate_json(last)
