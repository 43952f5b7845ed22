"""migrate, doctor, gc: commands that look after an installation."""

from typing import TYPE_CHECKING, Annotated

import typer

from webapp.commands.options import DataDir, settings_from

if TYPE_CHECKING:
    from models.infra.settings import Settings


def migrate(
    data_dir: DataDir = None,
    furnish: Annotated[
        bool, typer.Option("--furnish", help="Also add the samples and the base model that come along.")
    ] = False,
) -> None:
    """Bring the database to this version (`up` does it by itself). Refuses a newer one."""
    from models.db.engine import Database
    from models.db.migrations import migrate as upgrade
    from models.domain.errors import Unavailable

    settings = settings_from(data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        if not database.is_alive():
            raise Unavailable("The database does not answer. Start it, or correct TUNEROOM_DATABASE_URL.")
        before, after = upgrade(database)
    finally:
        database.close()
    typer.echo(f"The database is at revision {after}{' already' if before == after else ''}.")
    if furnish:
        _furnish(settings)


def _furnish(settings: "Settings") -> None:
    from webapp.actions.ensure_bundled_base import ensure_bundled_base
    from webapp.actions.ensure_samples import ensure_samples
    from webapp.commands.opened import opened_deps

    with opened_deps(settings) as deps:
        samples, base = ensure_samples(deps), ensure_bundled_base(deps)
    typer.echo(f"Added {len(samples)} sample datasets.")
    if base is not None:
        typer.echo(f"The bundled base model is imported by job {base.job.id}.")


def doctor(data_dir: DataDir = None) -> None:
    """Say what works on this machine, a line each, with a remedy where something does not."""
    from webapp.doctor import examine

    findings = examine(settings_from(data_dir))
    for finding in findings:
        typer.echo(finding.line())
    if any(finding.is_grave for finding in findings):
        raise typer.Exit(1)


def gc(
    data_dir: DataDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove stored bytes that nothing refers to any more, and records past their time. Runs by itself hourly."""
    from models.infra.care import care
    from webapp.commands.opened import opened_deps

    settings = settings_from(data_dir)
    with opened_deps(settings) as deps:
        freed = care(deps.database, deps.storage, settings, dry_run=dry_run)
    verb = "Would remove" if dry_run else "Removed"
    files, points = freed.files, freed.checkpoints
    typer.echo(
        f"{verb} {files} file{'s' * (files != 1)}, {freed.size / 1e6:,.1f} MB, "
        f"and {points} checkpoint{'s' * (points != 1)}."
    )
    for name, count in freed.old.items():
        typer.echo(f"{verb} {count} {name}.")
