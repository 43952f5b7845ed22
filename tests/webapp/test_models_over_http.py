"""Bases, adapters and merges as models, and their downloads."""

import io
import zipfile

import pytest
from openai.types import Model

from models.db.store.system import SystemStore
from models.domain.errors import AppError, Code, JobFailed
from models.domain.job import JobState, Lane
from tests.house import error_of
from webapp.actions.download_tree import chunks_of


@pytest.fixture
def finished(house):
    anna = house.person()
    adapter = house.trained(anna, house.base())[1]
    return anna, adapter, house.merged(anna, adapter)[1]


def test_models_are_the_base_the_adapter_on_its_quantisation_and_the_merge(house, finished):
    anna = finished[0]
    data = house.client.get("/v1/models", headers=anna.headers).json()["data"]
    for model in data:
        Model.model_validate(model, strict=True)
        assert house.client.get(f"/v1/models/{model['id']}", headers=anna.headers).json() == model
    assert [(model["tuneroom"]["kind"], model["tuneroom"]["precision"]) for model in data] == [
        ("base", "full precision"), ("adapter", "NF4"), ("merge", "full precision (bf16)"),
    ]  # fmt: skip
    assert {model["tuneroom"]["base"] for model in data} == {"tiny"}
    assert "/somewhere/secret" not in str(data)


def test_an_unknown_model_is_absent_with_its_own_code(house, finished):
    for name in ("no-such", "org%2Fname", "ft:tiny:default::00000000", "merge:x"):
        response = house.client.get(f"/v1/models/{name}", headers=finished[0].headers)
        assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")


def test_an_adapter_downloads_as_a_zip_of_its_folder(house, finished):
    anna, adapter, _ = finished
    answers = [house.client.get(f"/api/v1/adapters/{adapter}/download", headers=anna.headers) for _ in range(2)]
    assert answers[0].headers["content-type"] == "application/zip"
    assert answers[0].content == answers[1].content
    archive = zipfile.ZipFile(io.BytesIO(answers[0].content))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "adapter_model.safetensors": b"weights", "a/b": b"x",
    }  # fmt: skip
    assert archive.testzip() is None


def test_a_merge_shows_the_report_that_let_it_pass(house, finished):
    anna, adapter, merge = finished
    seen = house.client.get(f"/api/v1/merges/{merge}", headers=anna.headers).json()
    assert (seen["adapter"], seen["report"], seen["mode"]) == (adapter, {"passed": True}, "as_tested")
    assert [row["id"] for row in house.client.get("/api/v1/merges", headers=anna.headers).json()["data"]] == [merge]


def test_a_refused_merge_shows_the_report_that_refused_it(house, finished):
    anna, adapter, _ = finished
    job = house.client.post("/api/v1/merges", json={"adapter": adapter}, headers=anna.headers).json()["id"]
    report = {"passed": False, "refusals": ["its KL is 0.1"]}
    with house.deps.database.write() as session:
        store = SystemStore(session)
        claimed = store.claim(Lane.JOBS, "worker-a", 30)
        error = JobFailed("The merge was refused.", code=Code.MERGE_REFUSED, report=report)
        store.settle(job, claimed.fence, JobState.FAILED, error=error)
    seen = house.client.get(f"/api/v1/jobs/{job}", headers=anna.headers).json()
    assert (seen["state"], seen["error"]["code"], seen["report"]) == ("failed", "merge_refused", report)


def test_a_merge_is_asked_for_by_id_or_by_name_and_once(house, finished):
    anna, adapter, _ = finished
    name = house.client.get(f"/api/v1/adapters/{adapter}", headers=anna.headers).json()["model"]
    first = house.client.post("/api/v1/merges", json={"adapter": name}, headers=anna.headers)
    assert (first.status_code, first.json()["kind"], first.json()["lane"]) == (201, "merge", "jobs")
    assert first.json()["spec"] == {"adapter": adapter, "mode": "full_precision", "storage": "bf16"}
    again = house.client.post("/api/v1/merges", json={"adapter": name}, headers=anna.headers)
    assert again.json()["id"] == first.json()["id"]
    wrong = house.client.post("/api/v1/merges", json={"adapter": name, "mode": "4bit"}, headers=anna.headers)
    assert (wrong.status_code, error_of(wrong)["param"]) == (400, "mode")


def test_damaged_bytes_are_never_sent_as_if_they_were_whole(quick_house):
    storage = quick_house.deps.storage
    blob = storage.put_bytes("shared", b"good" * 1000)
    path = next(path for path in (quick_house.deps.settings.data_dir / "storage").rglob(blob.sha256))
    path.chmod(0o640)
    path.write_bytes(b"evil" * 1000)
    with pytest.raises(AppError, match="damaged"):
        list(chunks_of(storage, "shared", blob.sha256))
