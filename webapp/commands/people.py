"""user add, user reset, key create. They ask nothing, and the secret stands alone on the last line, for scripts."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from webapp.commands.options import DataDir, settings_from

if TYPE_CHECKING:
    from models.db.engine import Database

Team = Annotated[str, typer.Option(help="Team to join.")]
OneTeam = Annotated[str | None, typer.Option(help="Team the key acts in; needed where the person is in several.")]

user = typer.Typer(no_args_is_help=True, help="People of this installation.")
key = typer.Typer(no_args_is_help=True, help="API keys.")


@user.command("add")
def add(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    data_dir: DataDir = None,
    team: Team = "default",
    role: Annotated[str, typer.Option(help="owner, member or viewer.")] = "member",
    admin: Annotated[bool, typer.Option("--admin", help="May administer the whole installation.")] = False,
) -> None:
    """Add a person; the password is the last line and is shown only here."""
    from webapp.actions.add_user import add_user

    with _opened(data_dir) as database:
        password = add_user(database, email, team=team, role=role, admin=admin)
    typer.echo(f"Added {email} to the team {team} as {role}{', administrator' if admin else ''}. The password:")
    typer.echo(password)


@user.command("reset")
def reset(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    data_dir: DataDir = None,
) -> None:
    """Give a person who lost theirs a new password, the last line, shown only here; signs them out everywhere."""
    from webapp.actions.change_password import reset_password

    with _opened(data_dir) as database:
        password = reset_password(database, email)
    typer.echo(f"{email} has a new password and is signed out everywhere. The password:")
    typer.echo(password)


@key.command("create")
def create(
    email: Annotated[str, typer.Option("--user", help="E-mail address of the key's person.")],
    data_dir: DataDir = None,
    team: OneTeam = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
) -> None:
    """Create an API key; it is the last line and is shown only here."""
    from webapp.actions.create_key import create_key

    with _opened(data_dir) as database:
        secret = create_key(database, email, team=team, name=name)
    typer.echo(f"A key for {email}:")
    typer.echo(secret)


def _opened(data_dir: Path | None) -> "AbstractContextManager[Database]":
    """The database; what changes leaves a line in logs/commands.log, not among the command's own."""
    import structlog

    from webapp.commands.opened import opened_database

    settings = settings_from(data_dir)
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory((logs / "commands.log").open("a")))
    return opened_database(settings)
