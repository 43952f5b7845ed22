"""`tuneroom datasets check`: the data gate for a team's own CI, as a real process without a server."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.testing import CliRunner

from models.domain.checking import Checked, CheckRequest, Verdict
from models.domain.errors import NotFound
from models.domain.preview import CheckedFinding
from models.domain.reports import FoundRow
from models.infra.settings import Settings
from tests.house import migrated_sqlite, open_house
from tests.tiny import tiny_base
from webapp.actions.base_texts import bring_texts
from webapp.actions.speak_for_machine import speak_for_machine
from webapp.cli import app
from webapp.commands.check_told import lines, neutral
from webapp.commands.opened import opened_deps
from webapp.commands.options import settings_from
from webapp.processes import bare_environment, checking_command, tuneroom_command
from worker.data.checking import checked

HERON = "In the reeds by the old mill, where the water is shallow and nobody walks until the light is gone."


def asked(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


CLEAN = [asked("Where is the heron?", HERON), asked("What is the time?", "Nine.")]
MIXED = [
    *CLEAN,
    asked("Where is the heron?", HERON),  # 3 repeats 1
    asked("Where is the heron?", HERON.replace("old", "new")),  # 4 is near 1
    asked("Mail?", "ada@example.org"),
    {"messages": [{"role": "bad\x1b[31m\x9b2J\r\nrow 1: fine", "content": "x"}]},  # 6
    asked("Long?", "x" * 600),
]


def file(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def tuneroom(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = tuneroom_command("datasets", "check", *arguments)
    return subprocess.run(command, env=bare_environment(), capture_output=True, timeout=60, check=False, cwd="/")


def kinds(found: Checked) -> dict[str, int]:
    return {finding.kind: finding.count for finding in found.findings}


def ask(folder: Path, *files: str, **request: Any) -> Checked:
    """The worker's side alone, in this process."""
    return checked(CheckRequest(files=files, **request), folder)


def test_all_stages_in_one_json_object_and_exit_code_one(tmp_path):
    base = tiny_base(tmp_path / "base")
    done = tuneroom(file(tmp_path, MIXED), "--base", str(base), "--max-length", "512", "--json")
    assert (done.returncode, done.stderr, done.stdout.isascii(), b"\x1b" in done.stdout) == (1, b"", True, False)
    found = Checked.model_validate_json(done.stdout)
    assert found.intake and found.gate and found.tokens
    assert (found.verdict, found.intake.rows, found.gate.duplicates, found.tokens.base_name) == (
        "problems",
        7,
        1,
        "base",
    )
    assert kinds(found) == {"unknown_role": 1, "duplicate": 1, "near_duplicate": 1, "email": 1, "over_long": 1}
    first = {finding.kind: finding.first[0] for finding in found.findings}
    assert (first["duplicate"].row, first["duplicate"].found) == (3, "the same as row 1")
    assert (first["near_duplicate"].row, first["near_duplicate"].found) == (4, "much like row 1")
    assert (first["over_long"].row, first["over_long"].needed) == (7, "at most 512")


def test_a_hostile_file_cannot_steer_the_terminal(tmp_path):
    done = tuneroom(file(tmp_path, MIXED, "a\x1b[2Jb.jsonl"))
    told = done.stdout.decode()
    assert done.returncode == 1
    assert not any(letter in told for letter in "\x1b\r\x9b")
    assert r'row 6 messages[0].role: the text "bad\x1b[31m\x9b2J\r\nrow 1: fine"' in told
    assert r"a\x1b[2Jb.jsonl" in told
    assert "\nrow 1: fine" not in told


def test_a_clean_file_is_told_in_a_few_lines_with_exit_code_zero(tmp_path):
    done = tuneroom(file(tmp_path, CLEAN))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "rows.jsonl",
        "2 rows, all usable. Read as Chat messages (OpenAI), 100% sure, from jsonl. 2 conversations.",
        "No row repeats another one, exactly or nearly.",
        "",
        "Clean.",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "nothing"], "is no format"),
        (["--map", "text=body"], "add --format"),
        (["--map", "text", "--format", "text"], "is not FIELD=COLUMN"),
        (["--max-length", "512"], "add --base"),
        (["--base", "nobody"], "tuneroom migrate"),
    ],
)
def test_a_wish_that_cannot_be_ends_with_code_two_and_says_why(tmp_path, options, told):
    done = CliRunner().invoke(app, ["datasets", "check", "x.jsonl", *options, "--data-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert told in re.sub(r"[\s│]+", " ", done.output)


def test_a_file_that_is_not_there_is_said_in_json_too(tmp_path):
    done = tuneroom(str(tmp_path / "nowhere.jsonl"), "--json")
    found = Checked.model_validate_json(done.stdout)
    assert (done.returncode, found.verdict, done.stderr) == (2, "unusable", b"")
    assert found.error and "nowhere.jsonl is no file" in found.error["message"]


def test_a_file_that_no_format_fits_is_unusable(tmp_path):
    found = ask(tmp_path, file(tmp_path, ["# A title", "", "Some words."]))
    assert found.error and "Known formats" in found.error["message"] and found.verdict is Verdict.UNUSABLE


def test_the_worker_process_loads_no_torch_and_no_web_part(tmp_path):
    code = (
        "import sys, worker.data.checking as c; c.main(); "
        "print([n for n in ('torch', 'transformers', 'webapp', 'sqlalchemy') if n in sys.modules], file=sys.stderr)"
    )
    request = CheckRequest(files=(file(tmp_path, CLEAN),)).model_dump_json()
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], input=request, env=bare_environment(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stderr.strip() == "[]"
    assert Checked.model_validate_json(done.stdout.splitlines()[-1]).verdict is Verdict.CLEAN
    assert checking_command()[-1] == "worker.data.checking"


@pytest.fixture
def installation(tmp_path) -> tuple[Path, str]:
    """A data directory with one imported base, and the base's id."""
    folder = tiny_base(tmp_path / "made")
    house = open_house(migrated_sqlite(Settings(data_dir=tmp_path / "var")))
    base = house.base("tiny", folder)
    house.client.close()
    house.deps.close()
    return tmp_path / "var", base


def test_an_imported_base_is_named_by_name_or_id_and_comes_without_its_weights(tmp_path, installation):
    var, base = installation
    done = tuneroom(file(tmp_path, CLEAN), "--base", "tiny", "--data-dir", str(var), "--json")
    found = Checked.model_validate_json(done.stdout)
    assert (done.returncode, found.tokens and found.tokens.base_name) == (0, "tiny")
    with opened_deps(settings_from(var)) as deps:
        machine = speak_for_machine(deps)
        assert bring_texts(deps, machine, base, tmp_path / "texts") == "tiny"
        with pytest.raises(NotFound, match="Known ones: tiny"):
            bring_texts(deps, machine, "huge", tmp_path / "none")
    names = {path.name for path in (tmp_path / "texts").iterdir()}
    assert {"tokenizer.json", "chat_template.jinja"} <= names
    assert "model.safetensors" not in names


def test_warnings_are_clean_unless_strict(tmp_path):
    path = file(tmp_path, [*CLEAN, CLEAN[0]])
    assert ask(tmp_path, path).verdict is Verdict.CLEAN
    assert ask(tmp_path, path, is_strict=True).verdict is Verdict.PROBLEMS


def test_validation_rows_that_are_trained_on_are_named(tmp_path):
    validation = file(tmp_path, [CLEAN[1], asked("Who?", "Nobody."), "not json"], "validation.jsonl")
    found = ask(tmp_path, file(tmp_path, CLEAN), validation=(validation,))
    assert found.validation and found.validation.usable_rows == 2
    assert (kinds(found), found.verdict) == ({"overlap_same": 1}, Verdict.PROBLEMS)


def test_several_files_are_one_dataset_and_columns_can_be_mapped(tmp_path):
    one, other = (file(tmp_path, [{"frage": name, "antwort": "Ja."}], name) for name in ("a.jsonl", "b.jsonl"))
    reading = {"format": "alpaca", "mapping": {"instruction": "frage", "output": "antwort"}}
    found = ask(tmp_path, one, other, reading=reading)
    assert found.intake and [part.first_row for part in found.intake.parts] == [1, 2]
    assert (found.verdict, found.intake.usable_rows, found.intake.is_overruled) == (Verdict.CLEAN, 2, True)


def test_a_file_without_a_usable_row_is_unusable_and_still_reported(tmp_path):
    found = ask(tmp_path, file(tmp_path, [MIXED[5]] * 3))
    assert (found.verdict, found.error, kinds(found)) == (Verdict.UNUSABLE, None, {"unknown_role": 3})


def test_a_base_that_cannot_be_used_is_an_error_beside_the_other_reports(tmp_path):
    (tmp_path / "base").mkdir()
    found = ask(tmp_path, file(tmp_path, CLEAN), base=str(tmp_path / "base"))
    assert found.gate and found.error and found.verdict is Verdict.UNUSABLE
    assert "tokenizer.json" in found.error["message"]


def test_the_histogram_shows_every_sequence_and_what_is_left_out(tmp_path):
    found = ask(tmp_path, file(tmp_path, MIXED), base=str(tiny_base(tmp_path / "base")), max_length=512)
    told = [line.plain for line in lines(found, ["rows.jsonl"])]
    bars = [line for line in told if "█" in line]
    assert sum(int(line.rsplit(" ", 1)[1]) for line in bars) == 6
    assert any("With at most 512 tokens 1 of 6 sequences are left out" in line for line in told)


def test_markup_and_control_letters_in_findings_are_plain_text():
    finding = CheckedFinding(
        kind="new_kind\x1b", title="[red]T\x07", is_error=True, count=12,
        first=(FoundRow(row=1, field="[b]", found="a\u202eb\u200b\nc\x00\x9b", needed="\t"),),
    )  # fmt: skip
    told = list(lines(Checked(verdict=Verdict.PROBLEMS, findings=(finding,)), ["[blink]x"]))
    assert all(isinstance(line, Text) and line.plain == neutral(line.plain) for line in told)
    assert "  row 1 [b]: a\\u202eb\\u200b\\nc\\x00\\x9b (needed:  )" in [line.plain for line in told]
    assert "  and 11 more" in [line.plain for line in told]
