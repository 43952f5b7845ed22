"""migrate, doctor: commands that look after an installation."""

import typer

from webapp.commands.options import DataDir, settings_from


def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to this version (`up` does it by itself). Refuses a newer one."""
    from models.db.engine import Database
    from models.db.migrations import migrate as upgrade

    settings = settings_from(data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        before, after = upgrade(database)
    finally:
        database.close()
    typer.echo(f"The database is at revision {after}{' already' if before == after else ''}.")


def doctor(data_dir: DataDir = None) -> None:
    """Say what works on this machine, a line each, with a remedy where something does not."""
    from webapp.doctor import examine

    findings = examine(settings_from(data_dir))
    for finding in findings:
        typer.echo(finding.line())
    if any(finding.is_grave for finding in findings):
        raise typer.Exit(1)
