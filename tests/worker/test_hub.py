"""Downloads from a model hub over real HTTP: pinned, only data, taken up where they broke."""

import pytest

from models.catalog.sources import source_named
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Code, Invalid, Unavailable
from models.infra.settings import Settings
from tests.hub_server import COMMIT, serving
from worker.hub import download
from worker.jobdir import JobDir
from worker.sources import bring_source

WEIGHTS = bytes(range(256)) * 20_000
FILES = {
    "model.safetensors": WEIGHTS, "config.json": b"{}", "tokenizer.json": b'{"a": 1}', "README.md": b"# hi",
    "modeling.py": b"import os", "pytorch_model.bin": b"pickle", "onnx/model.safetensors": b"no",
}  # fmt: skip
TINY = source_named("hub").parse("org/tiny")


def fetch(hub, into, token=None, report=lambda done, total: None):
    return download(TINY, into, token, report, endpoint=hub.url)


def test_only_data_files_arrive_pinned_to_their_commit(tmp_path):
    with serving(FILES) as hub:
        fetched = fetch(hub, tmp_path)
    assert (fetched.revision, fetched.licence) == (COMMIT, "apache-2.0")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path):
    with serving(FILES) as hub:
        hub.broken_after = 3 << 20
        fetch(hub, tmp_path)
        assert any(asked for asked in hub.ranges)
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_download_that_was_stopped_goes_on_from_there_next_time(tmp_path):
    class Stopped(Exception):
        pass

    def stop_late(done: int, total: int) -> None:
        if done > total // 2:
            raise Stopped

    with serving(FILES) as hub:
        with pytest.raises(Stopped):
            fetch(hub, tmp_path, report=stop_late)
        hub.ranges.clear()
        fetch(hub, tmp_path)
        assert any(int(asked.removeprefix("bytes=").rstrip("-")) > 0 for asked in hub.ranges if asked)
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


def test_progress_ends_at_the_whole(tmp_path):
    said = []
    with serving(FILES) as hub:
        fetch(hub, tmp_path, report=lambda done, total: said.append((done, total)))
    assert said[-1][0] == said[-1][1] == len(WEIGHTS) + 2 + 8
    assert [done for done, _ in said] == sorted(done for done, _ in said)


def test_a_gated_model_says_what_to_do_and_opens_with_the_token(tmp_path):
    with serving(FILES, token="hf_good") as hub:
        with pytest.raises(Invalid, match=r"gated.*token"):
            fetch(hub, tmp_path)
        fetch(hub, tmp_path, token="hf_good")
    assert (tmp_path / "config.json").exists()


@pytest.mark.parametrize("files", [{"config.json": b"{}"}, {"config.json": b"{}", "pytorch_model.bin": b"x"}])
def test_a_model_without_safetensors_is_refused_before_anything_is_fetched(tmp_path, files):
    with serving(files) as hub:
        with pytest.raises(Invalid, match="safetensors files are needed") as refusal:
            fetch(hub, tmp_path)
        assert hub.ranges == []
    assert refusal.value.code == Code.INVALID_BASE


def test_an_unknown_model_is_not_found_in_words(tmp_path):
    with serving(FILES) as hub, pytest.raises(Invalid, match="the hub has no model org/other"):
        download(source_named("hub").parse("org/other"), tmp_path, None, lambda done, total: None, endpoint=hub.url)


def test_a_hub_that_is_away_is_unavailable_in_words(tmp_path):
    with serving(FILES) as hub:
        url = hub.url
    with pytest.raises(Unavailable, match="does not answer"):
        download(TINY, tmp_path, None, lambda done, total: None, endpoint=url)


def test_an_offline_installation_refuses_downloads_with_a_sentence(tmp_path):
    spec = AddBaseSpec(name="tiny", source="hub", reference="org/tiny")
    settings = Settings(data_dir=tmp_path, hub_offline=True)
    with pytest.raises(Invalid, match="switched off"):
        bring_source(spec, JobDir(tmp_path / "job"), settings, lambda: None, lambda: None)


def test_a_local_folder_brings_its_data_and_the_names_of_its_pickles(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    for name, data in {"config.json": b"{}", "model.bin": b"pickle", "run.py": b"import os"}.items():
        (folder / name).write_bytes(data)
    spec = AddBaseSpec(name="tiny", source="local", reference=str(folder))
    bring_source(spec, JobDir(tmp_path / "job"), Settings(data_dir=tmp_path), lambda: None, lambda: None)
    brought = {path.name: path.read_bytes() for path in (tmp_path / "job" / "in" / "source").iterdir()}
    assert brought == {"config.json": b"{}", "model.bin": b""}


def test_a_path_that_is_not_there_is_refused_without_repeating_it(tmp_path):
    spec = AddBaseSpec(name="tiny", source="gguf", reference=str(tmp_path / "none.gguf"))
    with pytest.raises(Invalid, match="nothing lies at that path") as refusal:
        bring_source(spec, JobDir(tmp_path / "job"), Settings(data_dir=tmp_path), lambda: None, lambda: None)
    assert str(tmp_path) not in refusal.value.message
