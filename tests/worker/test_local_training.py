"""A training without a server: what it leaves, that it is the same training, how it resumes, what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from models.domain.ids import BaseId, FileId
from models.domain.local_training import LocalReport
from models.domain.training import TrainingSpec
from tests.house import quick_house
from tests.local import YAML, request, staged, train, write_rows
from tests.tiny import tiny_base
from tests.training import conversations
from webapp.actions.start_training import start_training
from webapp.views import train_yaml
from worker.jobdir import sha256_of
from worker.local.place import UNFINISHED
from worker.stop import Stop
from worker.train.run import run

__all__ = ["quick_house"]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("bases") / "some-folder")


@pytest.fixture(scope="module")
def done(base, tmp_path_factory) -> Path:
    """OUT of one training to its end."""
    folder = tmp_path_factory.mktemp("first")
    write_rows(folder / "rows.jsonl")
    ended, _ = train(request(folder, base, folder / "out"))
    assert ended.status == "succeeded" and ended.report is not None
    return folder / "out"


def adapter(out: Path) -> tuple[bytes, bytes]:
    return (out / WEIGHTS).read_bytes(), (out / CONFIG).read_bytes()


def message(ended) -> str:
    assert ended.error is not None
    return ended.error["message"]


def test_it_leaves_an_adapter_a_log_and_a_report_and_nothing_else(done):
    names = {path.name for path in done.iterdir()}
    assert names == {WEIGHTS, CONFIG, "manifest.json", "report.json", "log.txt"}
    report = LocalReport.model_validate_json((done / "report.json").read_text())
    assert (report.steps, report.epochs, report.rows) == (6, 2.0, 12)
    assert 0 < report.trained_tokens < report.tokens_seen
    assert report.train_loss.best <= report.train_loss.last < report.train_loss.first
    assert report.validation_loss and report.validation_loss.last < report.validation_loss.first
    assert report.adapter_sha256 == sha256_of(done / WEIGHTS)
    assert report.base == "tiny" and report.data[0].path.endswith("rows.jsonl")
    assert report.threads == 1 and report.device == "cpu" and "torch" in report.versions


def test_equal_settings_give_equal_bytes_wherever_they_lie(done, base, tmp_path, monkeypatch):
    elsewhere = tmp_path / "another" / "place"
    write_rows(elsewhere / "rows.jsonl")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    train(request(elsewhere, base, tmp_path / "out"))
    assert adapter(tmp_path / "out") == adapter(done)
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_a_servers_job_of_the_same_yaml_gives_the_same_bytes(done, base, quick_house, tmp_path):
    house, person = quick_house, quick_house.person()
    file = house.upload(person, rows=write_rows(tmp_path / "rows.jsonl").read_bytes()).json()["id"]
    wish = train_yaml.read(YAML).spec
    data = wish.data.model_copy(update={"training_file": FileId(file)})
    spec = wish.model_copy(update={"base": BaseId(house.base("tiny", base)), "data": data})
    start_training(house.deps, person.principal, spec)
    jobdir = staged(house, tmp_path)
    run(jobdir, Stop())
    assert adapter(jobdir.out) == adapter(done)
    assert (jobdir.out / "manifest.json").read_bytes() == (done / "manifest.json").read_bytes()


def test_an_interrupted_training_goes_on_to_the_same_bytes(done, base, tmp_path):
    write_rows(tmp_path / "rows.jsonl")
    ended, _ = train(request(tmp_path, base, tmp_path / "out"), stop_after=3)
    assert (ended.status, ended.step) == ("interrupted", 3)
    refused, _ = train(request(tmp_path, base, tmp_path / "out"))
    assert refused.status == "unusable" and "Add --resume" in message(refused)
    assert (tmp_path / "out" / UNFINISHED / "checkpoints").is_dir()
    ended, told = train(request(tmp_path, base, tmp_path / "out", is_resumed=True))
    assert ended.report is not None and ended.report.resumed_at == 3
    assert ended.report.steps == 6 and ended.report.train_loss.first > ended.report.train_loss.last
    assert any("step 3" in getattr(one, "text", "") for one in told)
    assert adapter(tmp_path / "out") == adapter(done)


def test_other_rows_are_no_continuation(base, tmp_path):
    write_rows(tmp_path / "rows.jsonl")
    train(request(tmp_path, base, tmp_path / "out"), stop_after=2)
    write_rows(tmp_path / "rows.jsonl", conversations(20))
    ended, _ = train(request(tmp_path, base, tmp_path / "out", is_resumed=True))
    assert ended.status == "failed" and "the training rows changed" in message(ended)
    assert ended.step == 2


def test_several_files_a_mix_and_a_validation_file_each_find_their_place(base, tmp_path):
    for name, rows in (("a", 6), ("b", 6), ("m", 4), ("v", 3)):
        write_rows(tmp_path / f"{name}.jsonl", conversations(rows))
    text = YAML.replace("training_file: rows.jsonl", "training_file: [a.jsonl, b.jsonl]\n  validation_file: v.jsonl")
    text = text.replace("quantisation", "  rows: {mixed: [{file: m.jsonl, weight: 2}]}\nquantisation")
    ended, _ = train(request(tmp_path, base, tmp_path / "out", text))
    assert ended.report is not None, ended.error
    roles = [(file.role, Path(file.path).name) for file in ended.report.data]
    assert roles == [
        ("training", "a.jsonl"), ("training", "b.jsonl"), ("mixed-1", "m.jsonl"), ("validation", "v.jsonl"),
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["rows"] for source in manifest["data"]["sources"]] == [12, 4]
    assert manifest["data"]["validation_sha256"] == sha256_of(tmp_path / "v.jsonl")


def test_near_duplicates_stay_together_as_on_a_server_that_has_looked_for_them(base, tmp_path):
    write_rows(tmp_path / "rows.jsonl")
    text = YAML.replace("quantisation", "  rows: {kept_together: near_duplicates}\nquantisation")
    ended, told = train(request(tmp_path, base, tmp_path / "out", text))
    assert ended.status == "succeeded"
    assert not any("have not been looked for" in getattr(one, "text", "") for one in told)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({"notes.txt": "mine"}, "is not empty"),
        ({"report.json": "{}"}, "holds a finished training"),
        ({f"{UNFINISHED}/other.txt": "mine"}, "is not empty"),
    ],
)
def test_a_directory_that_holds_something_else_is_refused_and_left_alone(base, tmp_path, found, sentence):
    write_rows(tmp_path / "rows.jsonl")
    for name, text in found.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    for is_resumed in (False, True):
        ended, _ = train(request(tmp_path, base, tmp_path / "out", is_resumed=is_resumed))
        assert ended.status == "unusable" and sentence in message(ended)
    assert {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")} == set(found)


@pytest.mark.parametrize(
    ("rows", "status", "sentence"),
    [
        (None, "unusable", "is no file"),
        ([{"nothing": 1}] * 12, "unusable", "format"),
        (conversations(4), "unusable", "at least 10 are needed"),
    ],
)
def test_rows_that_cannot_be_trained_on_end_it_in_words(base, tmp_path, rows, status, sentence):
    if rows is not None:
        write_rows(tmp_path / "rows.jsonl", rows)
    ended, _ = train(request(tmp_path, base, tmp_path / "out"))
    assert ended.status == status and sentence in message(ended)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_the_hub_is_imported_once_and_again_where_the_copy_was_damaged(base, tmp_path):
    write_rows(tmp_path / "rows.jsonl")
    shutil.copytree(base, tmp_path / "plain", ignore=lambda *_: ["facts.json", "shapes.json"])
    trees, imports = [], []
    for number in range(3):
        ended, told = train(request(tmp_path, tmp_path / "plain", tmp_path / f"out{number}"))
        assert ended.report is not None, ended.error
        trees.append(ended.report.base_sha256)
        imports.append(any(getattr(one, "phase", "") == "converting" for one in told))
        if number == 1:
            (kept,) = (tmp_path / "cache" / "bases").glob("*/config.json")
            kept.write_text("{}")
    assert imports == [True, False, True] and len(set(trees)) == 1


def test_a_base_that_cannot_be_used_ends_it_in_words(tmp_path):
    write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "empty").mkdir()
    ended, _ = train(request(tmp_path, tmp_path / "empty", tmp_path / "out"))
    assert ended.status == "unusable" and "config.json" in message(ended)


def test_the_spec_in_the_report_is_a_training_without_paths(done):
    told = json.loads((done / "report.json").read_text())["spec"]
    spec = TrainingSpec.model_validate(told)
    assert spec.base.startswith("base-") and spec.data.training_file.startswith("file-")
    assert "/" not in json.dumps(told)
