"""Going on from an adapter: begins where that one ended, remembers it, resumes exactly, refuses another shape."""

import json
from pathlib import Path

import pytest

from models.db.store.artefacts import NewAdapter
from models.domain.adapter import AdapterManifest
from models.domain.errors import Invalid
from models.domain.ids import AdapterId, BaseId, FileId
from models.domain.job import JobKind
from models.domain.training import TrainingSpec
from models.infra.storage import team_scope
from tests.house import quick_house
from tests.local import YAML, request, staged, train, write_rows
from tests.tiny import tiny_base
from tests.training import conversations
from webapp.actions.start_training import start_training
from worker.jobdir import sha256_of
from worker.stop import Stop
from worker.train.run import run

__all__ = ["quick_house"]
WEIGHTS = "adapter_model.safetensors"
TEXT = YAML.replace("rows.jsonl", "rows.jsonl\n  validation_file: held.jsonl")
ON = TEXT.replace("data:", "start_adapter: parent\ndata:")
OWN = ON.replace("quantisation: none\n", "").replace("  name: lora\n  options: {rank: 4, alpha: 8, dropout: 0.1}\n", "")
OWN = OWN.replace("method:\n", "")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a base, rows, and `parent`: an adapter made of them."""
    folder = tmp_path_factory.mktemp("continued")
    tiny_base(folder / "base"), write_rows(folder / "rows.jsonl")
    write_rows(folder / "held.jsonl", conversations(5))
    ended, _ = train(request(folder, "base", folder / "parent", TEXT))
    assert ended.status == "succeeded"
    return folder


def manifest_of(out: Path) -> AdapterManifest:
    return AdapterManifest.model_validate_json((out / "manifest.json").read_text())


def go_on(place: Path, out: Path, text: str = ON, **more):
    return train(request(place, "base", out, text), **more)[0]


@pytest.fixture(scope="module")
def child(place) -> Path:
    write_rows(place / "rows.jsonl", conversations(24)[12:])  # other rows
    ended = go_on(place, place / "child")
    assert ended.status == "succeeded", ended.error
    return place / "child"


def test_it_begins_with_the_loss_that_its_parent_ended_with(place, child):
    parent, now = (json.loads((one / "report.json").read_text()) for one in (place / "parent", child))
    assert now["validation_loss"]["first"] == pytest.approx(parent["validation_loss"]["last"], abs=1e-6)
    assert now["train_loss"]["last"] < now["train_loss"]["first"]


def test_the_manifest_names_the_parent_and_its_weights(place, child):
    assert manifest_of(place / "parent").continued_from is None
    parent = manifest_of(child).continued_from
    assert parent is not None and parent.weights_sha256 == sha256_of(place / "parent" / WEIGHTS)


def test_method_and_quantisation_that_are_not_said_are_the_parents(place, child, tmp_path):
    assert "method" not in OWN and "quantisation" not in OWN
    assert go_on(place, tmp_path / "out", OWN).status == "succeeded"
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (child / WEIGHTS).read_bytes()


def test_it_resumes_to_the_same_bytes(place, child, tmp_path):
    assert go_on(place, tmp_path / "out", stop_after=3).status == "interrupted"
    ended, _ = train(request(place, "base", tmp_path / "out", ON, is_resumed=True))
    assert ended.report is not None and ended.report.resumed_at == 3
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (child / WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("rank: 4", "rank: 8"), "its rank is 4 and this training's is 8"),
        (("alpha: 8", "alpha: 16"), "its alpha is 8.0 and this training's is 16.0"),
    ],
)
def test_another_shape_is_refused_in_words(place, tmp_path, change, sentence):
    ended = go_on(place, tmp_path / "out", ON.replace(*change))
    assert ended.status == "unusable" and ended.error and sentence in ended.error["message"]


def test_another_base_is_refused_in_words(place, tmp_path):
    tiny_base(tmp_path / "other", seed=7)
    ended, _ = train(request(place, tmp_path / "other", tmp_path / "out", ON))
    assert ended.status == "unusable" and ended.error and "the base's content" in ended.error["message"]


def test_a_server_does_the_same_and_refuses_before_it_is_queued(place, child, quick_house, tmp_path):
    house, person = quick_house, quick_house.person()
    base, file, held = (
        house.base("tiny", place / "base"),
        house.upload(person, rows=(place / "rows.jsonl").read_bytes()).json()["id"],
        house.upload(person, "held.jsonl", (place / "held.jsonl").read_bytes()).json()["id"],
    )
    parent = _stored(house, person, base, place / "parent")
    told = json.loads((child / "report.json").read_text())["spec"]
    data = told["data"] | {"training_file": FileId(file), "validation_file": FileId(held)}
    spec = TrainingSpec.model_validate(told | {"base": BaseId(base), "start_adapter": parent, "data": data})
    other = spec.method.model_copy(update={"options": {**spec.method.options, "rank": 16}})
    with pytest.raises(Invalid, match="its rank is 4"):
        start_training(house.deps, person.principal, spec.model_copy(update={"method": other}))
    with pytest.raises(Invalid, match="another base model"):
        start_training(house.deps, person.principal, spec.model_copy(update={"base": BaseId(house.base("second"))}))
    start_training(house.deps, person.principal, spec)
    jobdir = staged(house, tmp_path)
    run(jobdir, Stop())
    assert (jobdir.out / WEIGHTS).read_bytes() == (child / WEIGHTS).read_bytes()
    made, local = manifest_of(jobdir.out).continued_from, manifest_of(child).continued_from
    assert made and local and (made.id, made.weights_sha256) == (parent, local.weights_sha256)


def _stored(house, person, base: str, out: Path) -> AdapterId:
    """What a training on a server leaves: the adapter `out` with its row."""
    files = {name: (out / name).read_bytes() for name in (WEIGHTS, "adapter_config.json", "manifest.json")}
    new = NewAdapter(
        stored=house._tree(team_scope(person.principal.team), files), base_id=base, quantisation="none", suffix=None,
        manifest=json.loads(files["manifest.json"]),
    )  # fmt: skip
    spec = {"base": base, "data": {"training_file": "file-gone"}}
    job = house._finish(person.principal, JobKind.TRAIN, spec, new)
    return AdapterId("adapter-" + job.split("-", 1)[1])
