"""The command line: quick help, sentences instead of tracebacks, secrets alone on the last line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.db.store.system import SystemStore
from models.domain.errors import AppError, Conflict, Invalid, NotFound, Unavailable
from webapp.actions.add_base import name_of
from webapp.actions.sign_in import principal_of_key
from webapp.cli import app
from webapp.commands.opened import opened_deps
from webapp.commands.options import byte_count, settings_from
from webapp.local_disk import kind_at

HEAVY = ("torch", "transformers", "gradio", "fastapi", "sqlalchemy", "celery")


@pytest.fixture
def tuneroom(tmp_path, monkeypatch):
    """Runs a command on a migrated, empty installation; expected errors come out as they are."""
    monkeypatch.setenv("TUNEROOM_DATA_DIR", str(tmp_path / "var"))

    def run(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        if isinstance(result.exception, AppError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    run("migrate")
    return run


def test_help_loads_nothing_heavy():
    code = f"import sys, webapp.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_new_person_has_the_role_that_was_asked_for_and_a_key_that_acts_for_them(tuneroom):
    password = tuneroom("user", "add", "Ada@example.org", "--role", "owner").splitlines()[-1]
    key = tuneroom("key", "create", "--user", "ada@example.org").splitlines()[-1]
    assert len(password) == 24
    with opened_deps(settings_from(None)) as deps:
        assert principal_of_key(deps.database, key).role == "owner"


def test_an_administrator_is_one(tuneroom):
    tuneroom("user", "add", "root@example.org", "--admin")
    with opened_deps(settings_from(None)) as deps, deps.database.read() as session:
        user = SystemStore(session).user_by_email("root@example.org")
    assert user is not None
    assert user.is_admin


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("user", "add", "not-an-address"), Invalid, "not an e-mail address"),
        (("user", "add", "a@example.org", "--team", "nowhere"), NotFound, "Known teams: default"),
        (("user", "add", "a@example.org", "--role", "king"), Invalid, "owner, member, viewer"),
        (("key", "create", "--user", "nobody@example.org"), NotFound, "tuneroom user add"),
        (("base", "add", "what is this"), Invalid, "Known forms"),
        (("up", "--host", "0.0.0.0", "--no-open"), Invalid, "without TLS"),
    ],
)
def test_a_wrong_wish_gets_a_sentence(tuneroom, arguments, kind, told):
    with pytest.raises(kind, match=told):
        tuneroom(*arguments)


def test_a_person_is_not_added_twice(tuneroom):
    tuneroom("user", "add", "ada@example.org")
    with pytest.raises(Conflict, match="exists already"):
        tuneroom("user", "add", "ADA@example.org")


def test_an_installation_without_tables_says_what_to_run(tmp_path):
    result = CliRunner().invoke(app, ["user", "add", "a@example.org", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, Unavailable)
    assert "tuneroom migrate" in result.exception.message


def test_an_expected_error_is_one_line_on_stderr_and_exit_code_one(tmp_path):
    command = [sys.executable, "-m", "webapp", "key", "create", "--user", "a@example.org", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_a_setting_that_cannot_be_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNEROOM_PORT", "seven")
    with pytest.raises(Invalid, match="TUNEROOM_PORT is 'seven'"):
        settings_from(tmp_path)


def test_an_option_wins_over_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNEROOM_DATA_DIR", "/elsewhere")
    assert settings_from(tmp_path).data_dir == tmp_path


def test_a_hub_token_is_read_from_stdin_and_stored_sealed(tuneroom, tmp_path):
    tuneroom("base", "token", stdin="hf_secretsecret\n")
    files = list((tmp_path / "var").glob("tuneroom.db*"))
    assert files
    assert not any(b"hf_secretsecret" in file.read_bytes() for file in files)


def test_an_import_is_queued_without_waiting_and_its_name_comes_from_the_reference(tuneroom):
    assert "Importing smollm2-135m-instruct as job" in tuneroom(
        "base", "add", "HuggingFaceTB/SmolLM2-135M-Instruct@main", "--no-wait"
    )
    with pytest.raises(Conflict, match="being imported"):
        tuneroom("base", "add", "HuggingFaceTB/SmolLM2-135M-Instruct", "--no-wait")


@pytest.mark.parametrize(
    ("reference", "name"),
    [("org/Name-1.5B@main", "name-1.5b"), ("/srv/My Model.Q4_1.GGUF", "my-model.q4_1"), ("/srv/bases/", "bases")],
)
def test_public_ids_are_made_of_references(reference, name):
    assert name_of(reference) == name


def test_a_network_file_system_is_recognised_by_its_innermost_mount():
    mounts = [("/", "overlay"), ("/srv/fast", "xfs"), ("/srv", "nfs4"), ("/", "ext4")]
    places = ("/var", "/srv/data", "/srv/fast/data", "/srvother")
    assert [kind_at(Path(place), mounts) for place in places] == ["ext4", "nfs4", "xfs", "ext4"]


@pytest.mark.parametrize(("text", "count"), [("6000000000", 6 * 10**9), ("6GB", 6 * 10**9), ("1.5 GiB", 3 * 2**29)])
def test_memory_limits_are_read_with_their_units(text, count):
    assert byte_count(text) == count


@pytest.mark.parametrize(
    ("lane", "setting"), [("jobs", "TUNEROOM_DEVICE_MEMORY_BYTES"), ("chat", "TUNEROOM_CHAT_DEVICE_MEMORY_BYTES")]
)
def test_a_device_cap_too_small_to_compute_in_is_refused_by_its_setting(lane, setting, tmp_path):
    given = ["worker", lane, "--device-memory-limit", "1KB", "--data-dir", str(tmp_path)]
    refused = CliRunner().invoke(app, given).exception
    assert isinstance(refused, Invalid)
    assert f"{setting} is 1000" in refused.message


def test_gc_says_what_goes_before_and_after_it_went(tuneroom, tmp_path):
    storage = tmp_path / "var" / "storage" / "shared" / "ab"
    storage.mkdir(parents=True)
    garbage = storage / ("ab" + "0" * 62)
    garbage.write_bytes(b"x" * 2_000_000)
    assert "0 files" in tuneroom("gc", "--dry-run")
    os.utime(garbage, (0, 0))
    assert tuneroom("gc", "--dry-run").startswith("Would remove 1 file, 2.0 MB") and garbage.exists()
    assert tuneroom("gc").startswith("Removed 1 file, 2.0 MB") and not garbage.exists()
