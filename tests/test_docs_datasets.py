"""docs/datasets.md says what the code does: its tables are the catalog's, its examples are run."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.catalog.containers import CONTAINERS
from models.catalog.findings import GATE, INTAKE, OVERLAP, TOKENS, Words
from models.catalog.formats import FORMATS
from models.catalog.rows import DEEPEST, LARGEST_CELL_BYTES, LARGEST_ROW_BYTES, MOST_ROWS
from models.domain.checking import CheckRequest
from tests.tiny import tiny_base
from webapp.cli import app
from worker.data.checking import checked

PAGE = (Path(__file__).parents[1] / "docs/datasets.md").read_text()


def formats_section() -> str:
    """What stands between the marks of the page; print it to renew the page."""
    told: list[str] = []
    for entry in FORMATS.values():
        fields = ", ".join(f"`{field.name}`" + ("" if field.is_required else "?") for field in entry.fields)
        told.append(f"**{entry.title}**: `{entry.name}`, fields {fields}\n")
        told.append(f"```json\n{json.dumps(entry.example, ensure_ascii=False)}\n```\n")
    return "\n".join(told)


def containers_section() -> str:
    rows = [
        f"| {each.title} | {', '.join(f'`{suffix}`' for suffix in each.suffixes)} |" for each in CONTAINERS.values()
    ]
    return "\n".join(["| container | endings |", "|---|---|", *rows]) + "\n"


def findings_section(findings: dict[str, Words]) -> str:
    rows = [
        f"| `{kind}` | {words.weight} | {words.title}. {words.explained} | {words.remedy} |"
        for kind, words in findings.items()
    ]
    return "\n".join(["| kind | weight | what it is | what to do |", "|---|---|---|---|", *rows]) + "\n"


SECTIONS = {
    "formats": formats_section(),
    "containers": containers_section(),
    "rows": findings_section(INTAKE),
    "repeats": findings_section(GATE),
    "overlap": findings_section(OVERLAP),
    "tokens": findings_section(TOKENS),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_has_the_catalog_of_now(name):
    written = PAGE.split(f"<!-- {name} -->\n")[1].split("<!-- end -->")[0]
    assert written == SECTIONS[name]


def test_the_limits_are_those_of_the_code():
    limits = PAGE.split("## Limits")[1].split("\n## ")[0]
    for said in (
        f"{MOST_ROWS:,} rows",
        f"{LARGEST_CELL_BYTES // 1024} KiB",
        f"{LARGEST_ROW_BYTES // 2**20} MiB",
        f"{DEEPEST} deep",
    ):
        assert said in limits


def test_the_examples_print_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_base(tmp_path / "base")
    for name, content in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL):
        Path(name).write_text(content)
    examples = re.findall(r"```console\n\$ tuneroom ([^\n]+)\n(.*?)```\n\nExit code (\d)", PAGE, re.DOTALL)
    assert len(examples) >= 2
    for arguments, told, code in examples:
        done = CliRunner().invoke(app, shlex.split(arguments))
        assert (done.output, done.exit_code) == (told, int(code))


def test_the_program_that_reads_the_json_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, content = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)[0]
    Path(name).write_text(content)
    Path("report.json").write_text(checked(CheckRequest(files=(name,)), tmp_path).model_dump_json())
    (program, shown) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)[0]
    capsys.readouterr()
    exec(program, {"__name__": "example"})
    assert capsys.readouterr().out == shown
