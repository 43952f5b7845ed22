"""The documentation keeps up with the code: settings, decisions and recipes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from models.infra.settings import Settings
from webapp.cli import app

ROOT = Path(__file__).parents[1]


def test_every_setting_is_on_the_operations_page_and_no_other():
    page = (ROOT / "docs/operations.md").read_text()
    table = page.split("## Settings")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name for cell in cells for name in re.findall(r"`([A-Z_]+)`", cell)}
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_command_is_on_the_operations_page_and_no_other():
    table = (ROOT / "docs/operations.md").read_text().split("## Commands")[1].split("\n## ")[0]
    assert set(_named(table)) == set(_commands(get_command(app)))


def _named(table: str) -> list[str]:
    return [re.sub(r" (?:[A-Z]|--).*", "", name) for name in re.findall(r"`tuneroom ([^`]+)`", table)]


def _commands(command: Any, path: str = "") -> Iterator[str]:
    """Every command that does something, as a person types it after `tuneroom`."""
    for name, below in command.commands.items():
        full = f"{path} {name}".strip()
        if hasattr(below, "commands"):
            yield from _commands(below, full)
        else:
            yield full


def test_decisions_are_short_and_numbered_without_a_gap():
    pages = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert all(len(page.read_text().splitlines()) <= 30 for page in pages)


def test_every_file_that_the_pages_name_exists():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_catalog_files_that_contributing_names_exist():
    named = re.findall(r"`((?:models|worker|tests)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    missing = [name for name in named if not name.endswith("/x.py") and not (ROOT / name).exists()]
    assert missing == []
