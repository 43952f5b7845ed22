"""`tuneroom train --local`: what the command makes of its YAML and options, what it shows, and one real process."""

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.domain.errors import Invalid
from models.domain.local_training import LocalEnded, LocalReport
from models.domain.presets import PRESETS
from models.domain.progress import Evaluated, Remarked, StepDone
from tests.local import YAML, request, write_rows
from tests.tiny import tiny_base
from webapp.actions.ensure_bundled_base import bundled_gguf
from webapp.cli import app
from webapp.commands.train_told import Progress, tell
from webapp.processes import bare_environment, tuneroom_command
from webapp.views import local_job, train_wish, train_yaml


def asked(folder: Path, text: str = YAML, base: str | None = None, **given: Any):
    return request(folder, base, folder / "out", text, **given)


def refusal(folder: Path, text: str, base: str | None = None, **given: Any) -> str:
    with pytest.raises(Invalid) as refused:
        asked(folder, text, base, **given)
    return refused.value.message


# -- the order ----------------------------------------------------------------------------------------------------


def test_paths_are_looked_for_beside_the_settings_and_then_where_one_stands(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    write_rows(tmp_path / "here" / "rows.jsonl")
    write_rows(tmp_path / "settings" / "other.jsonl")
    monkeypatch.chdir(tmp_path / "here")
    text = "{base: ../base, data: {training_file: [other.jsonl, rows.jsonl], validation_file: nowhere.jsonl}}"
    order = asked(tmp_path / "settings", text)
    assert order.base.reference == str(tmp_path / "base") and order.base.source == "local"
    assert order.training == (str(tmp_path / "settings" / "other.jsonl"), str(tmp_path / "here" / "rows.jsonl"))
    assert order.validation == (str(tmp_path / "here" / "nowhere.jsonl"),)
    assert order.spec.data.validation_file == "validation"


def test_what_the_train_page_copies_needs_only_its_base_and_its_file(tmp_path):
    (tmp_path / "rows.jsonl").touch(), (tmp_path / "folder").mkdir()
    spec = train_wish.spec_of(PRESETS["quick"]).model_copy(update={"base": "base-01abc"})
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"training_file": "file-01abc"})})
    text = train_yaml.write(spec, train_yaml.Names(base="their-name", training_file="rows.jsonl"))
    order = asked(tmp_path, text, base="folder")
    assert (order.base.name, order.base.reference) == ("their-name", str(tmp_path / "folder"))
    assert order.training == (str(tmp_path / "rows.jsonl"),)
    assert order.spec.schedule == spec.schedule and order.spec.method.name == spec.method.name


@pytest.mark.parametrize(
    ("wanted", "name", "source"),
    [
        ("smollm2-135m-instruct", "smollm2-135m-instruct", "gguf"),
        ("example/Small-1B@v2", "small-1b", "hub"),
        ("model.GGUF", "model", "gguf"),
    ],
)
def test_a_base_is_the_bundled_one_the_hubs_or_a_file(tmp_path, wanted, name, source):
    (tmp_path / "rows.jsonl").touch(), (tmp_path / "model.GGUF").touch()
    order = asked(tmp_path, f"{{base: {wanted}, data: {{training_file: rows.jsonl}}}}")
    assert (order.base.name, order.base.source) == (name, source)
    if wanted == name:
        assert order.base.reference == str(bundled_gguf())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base: tiny", "name no training file"),
        ("{base: base-01x, data: {training_file: rows.jsonl}}", "no base model that can be found here"),
        ("{base: no such thing, data: {training_file: rows.jsonl}}", "is no base model here"),
        ("{base: org/name, data: {training_file: file-01x}}", "is a file of an installation"),
        ("{base: org/name, data: {training_file: [1]}}", "a path or a list of paths"),
        ("{base: [1], data: {training_file: a}}", "base: [1] was given"),
        ("{base: org/name, data: {training_file: a}, schedule: {epoch: 1}}", "schedule.epoch is not a setting"),
        ("{base: org/name, data: 5}", "data is 5"),
        ("{base: org/name, data: {training_file: a, rows: {mixed: [7]}}}", "it needs a file's id and a weight"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_words(tmp_path, text, sentence):
    assert sentence in refusal(tmp_path, text)


def test_the_yaml_itself_may_be_missing(tmp_path):
    done = CliRunner().invoke(app, ["train", str(tmp_path / "none.yaml"), "--local", str(tmp_path / "out")])
    assert done.exit_code == 2 and "cannot be read" in done.output


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_settings_read_with_paths_are_those_read_with_ids(preset):
    spec = train_wish.spec_of(preset)
    text = train_yaml.write(spec, train_yaml.Names())
    assert local_job.read(text).spec == train_yaml.read(text).spec


# -- what is shown ------------------------------------------------------------------------------------------------


def step(number: int, total: int = 9, **changes: Any) -> StepDone:
    told = {
        "epoch": 1.0, "loss_per_token": 2.5, "grad_norm": 1.0, "learning_rate": 0.1, "trained_tokens": 3,
        "step_seconds": 0.1,
    }  # fmt: skip
    return StepDone(step=number, total_steps=total, **(told | changes))


def test_into_a_pipe_the_first_and_the_last_step_are_told_and_every_evaluation():
    out = io.StringIO()
    with Progress(out) as progress:
        for said in (Evaluated(step=0, loss_per_token=3, trained_tokens=5), *map(step, range(1, 10)),
                     Remarked(level="warn", text="odd\x1b[2J")):  # fmt: skip
            progress.show(said.model_dump(mode="json"))
    assert out.getvalue().splitlines() == [
        "step 0: validation loss 3.0000",
        "step 1/9: loss 2.5000, validation 3.0000",
        "step 9/9: loss 2.5000, validation 3.0000",
        "Note: odd\\x1b[2J",
    ]


def test_an_interrupted_training_says_how_to_go_on(capsys):
    tell(LocalEnded(status="interrupted", step=40), Path("out"))
    assert "--resume goes on from step 40, in out" in capsys.readouterr().err
    tell(LocalEnded(status="interrupted"), Path("out"))
    assert "nothing is kept" in capsys.readouterr().err


# -- a real process -----------------------------------------------------------------------------------------------


def test_the_command_trains_in_a_process_of_its_own_and_prints_the_report(tmp_path):
    tiny_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "job.yaml").write_text(YAML)
    command = tuneroom_command("train", str(tmp_path / "job.yaml"), "--local", "out", "--base", "base", "--json")
    done = subprocess.run(command, env=bare_environment(), capture_output=True, timeout=90, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr.decode()
    ended = LocalEnded.model_validate(json.loads(done.stdout))
    assert ended.report is not None
    assert ended.report == LocalReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert ended.report.peak_memory_bytes > 10**8
    assert 0 < (ended.report.seconds_to_first_step or 0) < ended.report.seconds_total
    told = done.stderr.decode()
    assert re.search(r"step 1/\d+: loss \d", told) and "validation loss" in told
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"adapter_model.safetensors", "log.txt"}
