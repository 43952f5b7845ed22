"""What every command shares: --data-dir, and Settings made from it, the environment and the command's options."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.infra.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where this installation keeps everything. Default: TUNEROOM_DATA_DIR, else ./var.",
        show_default=False,
        file_okay=False,
    ),
]


def settings_from(data_dir: Path | None, **options: Any) -> "Settings":
    """Settings for one command: an option that was given wins over the environment, which wins over the default.

    Raises Invalid with the setting's name and what is wrong with it.
    """
    from pydantic import ValidationError

    from models.domain.errors import Code, Invalid
    from models.infra.settings import Settings

    wished: dict[str, Any] = {"data_dir": data_dir} | options
    given = {name: value for name, value in wished.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        raise Invalid(
            f"TUNEROOM_{name.upper()} is {first['input']!r}: {first['msg']}. Correct the option or the variable.",
            code=Code.INVALID_SETTING,
        ) from None


def byte_count(text: str) -> int:
    """Bytes from "6000000000", "6GB" or "6GiB"."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "B": 1, "": 1}
    number = text.strip().rstrip("bBkKmMgGiI ")
    try:
        return int(float(number) * units[text.strip()[len(number) :].strip().upper()])
    except (ValueError, KeyError):
        raise typer.BadParameter(f'"{text}" is no number of bytes. Write 6000000000, 6GB or 6GiB.') from None
