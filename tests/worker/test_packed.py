"""A base that an earlier training has packed: the same adapter to the byte, and nothing is lost where it is damaged."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from models.domain.errors import AppError, Code
from models.domain.training import Quantisation
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage, team_scope
from tests.training import TREE_SHA256, conversations, training_job
from worker import packed
from worker.cache import Cache
from worker.jobdir import JobDir, write_atomically
from worker.packed import forget_packed, keep_packed, lay_packed, may_keep
from worker.stop import Stop
from worker.train.run import run

GB = 10**9
TEAM = team_scope("team-a")


def job(path, *, keeps=False, **settings) -> JobDir:
    jobdir = training_job(path, validation=conversations()[:4], **settings)
    order = jobdir.order()
    order = order.model_copy(update={"facts": order.facts | {"keeps_packed": keeps}})
    write_atomically(jobdir.root / "spec.json", order.model_dump_json())
    return jobdir


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(Settings(data_dir=tmp_path / "data"), Storage(f"file://{tmp_path / 'storage'}"))


def lay(cache: Cache, scope: str, jobdir: JobDir, quantisation=Quantisation.NF4, tree=TREE_SHA256) -> list[str]:
    lay_packed(cache, scope, quantisation, tree, jobdir)
    folder = jobdir.inputs / "packed"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("quantisation", ["nf4", "nf4plain", "int8"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_next_training_finds_it_and_leaves_the_same_bytes(tmp_path, cache, quantisation, dtype):
    settings = {"quantisation": quantisation, "compute_dtype": dtype, "epochs": 2}
    first, second = job(tmp_path / "1", keeps=True, **settings), job(tmp_path / "2", **settings)
    assert run(first, Stop()).status == "succeeded"
    keep_packed(cache, TEAM, first)
    shutil.rmtree(first.packed)
    assert lay(cache, TEAM, second, Quantisation(quantisation)) == [dtype]
    assert run(second, Stop()).status == "succeeded" and not second.packed.exists()
    for path in first.out.iterdir():
        assert path.read_bytes() == (second.out / path.name).read_bytes(), path.name


def test_it_is_read_and_not_packed_again(tmp_path, cache, monkeypatch):
    first, second = job(tmp_path / "1", keeps=True, quantisation="nf4"), job(tmp_path / "2", quantisation="nf4")
    run(first, Stop())
    keep_packed(cache, TEAM, first)
    lay(cache, TEAM, second)
    asked = []
    monkeypatch.setattr("worker.train.base.load_base", lambda *_: asked.append(_))
    run(second, Stop())
    assert asked == []


def test_one_that_cannot_be_read_is_packed_anew(tmp_path, cache, caplog):
    control, cut = job(tmp_path / "1", keeps=True, quantisation="nf4"), job(tmp_path / "2", quantisation="nf4")
    run(control, Stop())
    shutil.copytree(control.packed / "fp32", cut.inputs / "packed" / "fp32")
    weights = next((cut.inputs / "packed" / "fp32").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert run(cut, Stop()).status == "succeeded" and "packed anew" in caplog.text
    for path in control.out.iterdir():
        assert path.read_bytes() == (cut.out / path.name).read_bytes(), path.name


def test_one_that_holds_other_weights_is_found_out_and_forgotten(tmp_path, cache):
    """An adapter that was trained on something else than its base is refused by its proof."""
    first, spoiled = (job(tmp_path / name, keeps=True, quantisation="nf4", epochs=3) for name in ("1", "2"))
    run(first, Stop())
    for path in (first.packed / "fp32").glob("*.safetensors"):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if name.endswith("q_proj.weight"):
                tensors[name] = tensor ^ 0x77
        save_file(tensors, path, metadata={"format": "pt"})
    keep_packed(cache, TEAM, first)
    assert lay(cache, TEAM, spoiled) == ["fp32"]
    with pytest.raises(AppError) as caught:
        run(spoiled, Stop())
    assert caught.value.code is Code.ADAPTER_REFUSED
    forget_packed(cache, TEAM, spoiled)
    assert lay(cache, TEAM, job(tmp_path / "3", quantisation="nf4")) == []


def test_it_belongs_to_one_scope_one_base_one_quantisation_and_one_version_of_the_libraries(
    tmp_path, cache, monkeypatch
):
    made = job(tmp_path / "made", keeps=True, quantisation="nf4")
    (made.packed / "fp32").mkdir(parents=True)
    (made.packed / "fp32" / "config.json").write_text("{}")
    (made.packed / "bf16.staged").mkdir()
    keep_packed(cache, TEAM, made)
    places = iter(JobDir(tmp_path / str(number)) for number in range(9))
    assert lay(cache, TEAM, next(places)) == ["fp32"]
    assert lay(cache, team_scope("team-b"), next(places)) == lay(cache, SHARED, next(places)) == []
    assert lay(cache, TEAM, next(places), tree="1" * 64) == []
    assert lay(cache, TEAM, next(places), Quantisation.INT8) == lay(cache, TEAM, next(places), Quantisation.NONE) == []
    monkeypatch.setattr(packed, "version", lambda name: "next")
    assert lay(cache, TEAM, next(places)) == []


def test_a_base_that_is_large_beside_the_cache_or_the_disk_is_not_kept(tmp_path):
    roomy, tight = (Settings(data_dir=tmp_path, cache_bytes=most) for most in (100 * GB, 1 * GB))
    tight.jobs_dir.mkdir(parents=True)
    assert may_keep(roomy, 135_000_000) and not may_keep(tight, 135_000_000)
    assert not may_keep(roomy, 10**15)


def test_an_unquantised_base_is_never_packed(tmp_path):
    jobdir = job(tmp_path, keeps=True)
    run(jobdir, Stop())
    assert not jobdir.packed.exists()
