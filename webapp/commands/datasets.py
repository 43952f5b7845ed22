"""datasets check: the data gate over files, with no server. The work is done by a worker process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from webapp.commands.options import DataDir, settings_from

if TYPE_CHECKING:
    from models.domain.checking import Checked, CheckRequest
    from models.domain.reading import Reading

LONGEST = 2048

datasets = typer.Typer(no_args_is_help=True, help="Training files.")


@datasets.callback()
def group() -> None:
    """Keeps `check` a word of its own while it is the only command here."""


@datasets.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Several files make one dataset, in order.")],
    base: Annotated[
        str | None,
        typer.Option(metavar="ID_OR_DIR", help="Also count tokens for this base: a folder, or an imported base."),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=16, max=131_072, help="Longest row in tokens; needs --base.", show_default=f"{LONGEST}"),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="F", help="Read the rows as this format.", show_default="detected")
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Take a field of the format from this column. Repeatable."),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Rows to validate on: are they trained on? Repeatable."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a report.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Check training files as the app does: rows, duplicates, personal data, and tokens with --base.

    Exit code 0: clean. 1: rows that cannot be used (with --strict also warnings). 2: nothing can be used.
    """
    from models.domain.checking import Checked, CheckRequest, Verdict
    from models.domain.errors import AppError

    if max_length is not None and base is None:
        raise typer.BadParameter("a length in tokens needs a base model: add --base.", param_hint="--max-length")
    reading = reading_from(form, mapped or [])
    with ExitStack() as held:
        try:
            folder, name = _base(base, data_dir, held) if base else (None, None)
            request = CheckRequest(
                files=tuple(map(_absolute, files)), reading=reading, validation=tuple(map(_absolute, validation or [])),
                base=folder, base_name=name, max_length=max_length or LONGEST, is_strict=strict,
                processes=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            )  # fmt: skip
            checked = _asked(request, is_quiet=as_json)
        except AppError as error:
            checked = Checked(verdict=Verdict.UNUSABLE, error=error.to_json())
    _tell(checked, [file.name for file in files], as_json=as_json)
    raise typer.Exit({Verdict.CLEAN: 0, Verdict.PROBLEMS: 1, Verdict.UNUSABLE: 2}[checked.verdict])


def _tell(checked: "Checked", names: list[str], *, as_json: bool) -> None:
    if as_json:
        # In ASCII: a terminal may obey letters that pydantic would leave as they are.
        typer.echo(json.dumps(checked.model_dump(mode="json"), indent=1))
        return
    from webapp.commands.check_told import tell

    tell(checked, names)


def reading_from(form: str | None, mapped: list[str]) -> "Reading":
    """How rows are read, from --format and --map. Raises BadParameter."""
    from models.catalog.formats import FORMATS
    from models.domain.reading import Reading

    if form is not None and form not in FORMATS:
        raise typer.BadParameter(f'"{form}" is no format. Known: {", ".join(FORMATS)}.', param_hint="--format")
    pairs = [each.partition("=") for each in mapped]
    for field, equals, column in pairs:
        if not (field and equals and column):
            raise typer.BadParameter(f'"{field}{equals}{column}" is not FIELD=COLUMN.', param_hint="--map")
    if pairs and form is None:
        raise typer.BadParameter("columns stand for fields of a format: add --format.", param_hint="--map")
    return Reading(format=form, mapping={field: column for field, _, column in pairs})


def _base(wanted: str, data_dir: Path | None, held: ExitStack) -> tuple[str, str]:
    """A folder with the base's tokenizer and templates, as long as `held` is, and the base's name.

    Raises NotFound for neither a folder nor a known base.
    """
    path = Path(wanted).expanduser()
    if path.is_dir():
        return str(path.resolve()), path.resolve().name
    from webapp.actions.base_texts import bring_texts
    from webapp.actions.speak_for_machine import speak_for_machine
    from webapp.commands.opened import opened_deps

    folder = held.enter_context(tempfile.TemporaryDirectory(prefix="tuneroom-base-"))
    with opened_deps(settings_from(data_dir)) as deps:
        return folder, bring_texts(deps, speak_for_machine(deps), wanted, Path(folder))


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())


def _asked(request: "CheckRequest", *, is_quiet: bool) -> "Checked":
    """Ask a worker process, and show how far it is where somebody watches. Raises AppError if it breaks off."""
    from models.domain.checking import Checked, Doing
    from models.domain.errors import AppError
    from webapp.processes import bare_environment, checking_command
    from webapp.progress_line import ProgressLine

    is_watched = sys.stdout.isatty() and not is_quiet
    process = subprocess.Popen(
        checking_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment(), cwd="/"
    )
    with process, ProgressLine() if is_watched else nullcontext() as line:
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):  # then it has said on stderr why it ended
            process.stdin.write(request.model_dump_json().encode())
            process.stdin.close()
        last = b""
        for last in process.stdout:
            if line and last.startswith(b'{"doing"'):
                said = Doing.model_validate_json(last)
                line.show(said.doing, said.done, said.total)
    if process.returncode != 0 or not last.startswith(b'{"verdict"'):
        raise AppError(f"the check broke off with code {process.returncode}; what it said stands above. Try again.")
    return Checked.model_validate_json(last)
