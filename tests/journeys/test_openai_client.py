"""The official `openai` client's whole journey against `tuneroom up`: real processes, a tiny random base."""

import io
import json
import time
import zipfile
from pathlib import Path

import httpx
import openai
import pytest

from models import samples
from tests.journeys.launched import eventually
from webapp.running import Running

KNOBS = {"schedule": {"batch_rows": 8, "learning_rate": 0.01, "save_every": 3}, "method": {"options": {"rank": 4}}}


@pytest.fixture(scope="module")
def key(app: Running) -> str:
    return app.new_key("anna@example.org")


@pytest.fixture(scope="module")
def client(app: Running, key: str):
    http = httpx.Client(trust_env=False, timeout=60)
    with openai.OpenAI(base_url=f"{app.url}/v1", api_key=key, http_client=http) as opened:
        yield opened


def rows(count: int) -> bytes:
    lines = samples.path("larkspur-facts").read_bytes().splitlines(keepends=True)
    return b"".join(lines[:count])


def wait_for_end(client: openai.OpenAI, job_id: str):
    """As code written for OpenAI does it: retrieve until the status is an end."""
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
    return job


@pytest.fixture(scope="module")
def trained(client):
    file = client.files.create(file=("facts.jsonl", rows(48)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, suffix="facts", seed=5, metadata={"run": "one"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
        extra_body={"tuneroom": KNOBS},
    )  # fmt: skip
    assert job.status in ("validating_files", "queued", "running")
    return wait_for_end(client, job.id)


def test_an_uploaded_file_is_processed_and_comes_back_unchanged(client):
    file = client.files.create(file=("more.jsonl", rows(3)), purpose="fine-tune")
    assert client.files.wait_for_processing(file.id, poll_interval=0.2).status == "processed"
    assert client.files.content(file.id).read() == rows(3)
    assert file.id in [listed.id for listed in client.files.list()]
    assert client.files.delete(file.id).deleted


def test_the_training_succeeds_and_names_its_model(client, trained):
    assert trained.status == "succeeded", trained.error
    assert trained.fine_tuned_model.startswith("ft:tiny:default:facts:")
    assert trained.trained_tokens > 0
    assert trained.finished_at >= trained.created_at
    assert (trained.hyperparameters.n_epochs, trained.hyperparameters.batch_size, trained.seed) == (1, 8, 5)


def test_the_job_is_found_by_its_metadata(client, trained):
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"run": "one"})] == [trained.id]
    assert list(client.fine_tuning.jobs.list(metadata={"run": "two"})) == []


def test_events_page_from_the_newest_to_the_first(client, trained):
    messages = [event.message for event in client.fine_tuning.jobs.list_events(trained.id, limit=2)]
    assert messages[0] == "running -> succeeded"
    assert messages[-1] == "created -> queued"
    assert len(messages) > 4


def test_checkpoints_carry_their_losses(client, trained):
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(trained.id, limit=1))
    assert [point.step_number for point in checkpoints] == sorted((p.step_number for p in checkpoints), reverse=True)
    assert checkpoints[-1].step_number == 3
    assert all(point.metrics.train_loss > 0 for point in checkpoints)
    assert checkpoints[0].fine_tuned_model_checkpoint.startswith(trained.fine_tuned_model)


def test_the_adapter_is_listed_on_the_precision_it_was_trained_on(client, trained):
    model = client.models.retrieve(trained.fine_tuned_model)
    assert (model.tuneroom["kind"], model.tuneroom["precision"], model.tuneroom["base"]) == ("adapter", "NF4", "tiny")
    assert {listed.id for listed in client.models.list()} >= {"tiny", trained.fine_tuned_model}


@pytest.mark.parametrize("which", ["base", "adapter"])
def test_a_model_answers_whole_and_streamed_alike(client, trained, which):
    model = "tiny" if which == "base" else trained.fine_tuned_model
    asked = {
        "model": model, "messages": [{"role": "user", "content": "What is it?"}], "temperature": 0, "max_tokens": 8,
    }  # fmt: skip
    whole = client.chat.completions.create(**asked)
    assert whole.usage.completion_tokens <= 8
    assert whole.choices[0].finish_reason in ("stop", "length")
    streamed = client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == whole.choices[0].message.content


def test_the_adapter_downloads_as_safetensors_with_its_manifest(app, key, client, trained):
    adapter = client.fine_tuning.jobs.retrieve(trained.id).tuneroom["adapter"]
    answer = httpx.get(
        f"{app.url}/api/v1/adapters/{adapter}/download", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )  # fmt: skip
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert {"adapter_model.safetensors", "adapter_config.json", "manifest.json"} <= set(archive.namelist())
    assert json.loads(archive.read("manifest.json"))["quantisation"] == "nf4"
    assert not [name for name in archive.namelist() if name.endswith((".bin", ".pt", ".pth"))]


def test_rows_that_teach_nothing_fail_later_with_the_file_named(client):
    bad = b'{"messages": [{"role": "user", "content": "Hi"}]}\n' * 12
    file = client.files.create(file=("bad.jsonl", bad), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
    ended = wait_for_end(client, job.id)
    assert (ended.status, ended.error.code, ended.error.param) == ("failed", "invalid_training_file", "training_file")
    assert client.files.wait_for_processing(file.id, poll_interval=0.2).status == "error"
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(model="tiny", training_file=file.id, seed=1)
    assert refused.value.code == "invalid_training_file"


def test_a_cancelled_training_ends_and_can_keep_its_adapter(client):
    file = client.files.create(file=("long.jsonl", rows(136)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, extra_body={"tuneroom": {"schedule": {"epochs": 50, "batch_rows": 1}}}
    )  # fmt: skip
    while (client.fine_tuning.jobs.retrieve(job.id).tuneroom["progress"]["done"] or 0) < 2:
        time.sleep(0.1)
    client.fine_tuning.jobs.cancel(job.id, extra_query={"keep": "true"})
    ended = wait_for_end(client, job.id)
    assert ended.status == "cancelled"
    assert ended.fine_tuned_model is not None
    assert ended.tuneroom["is_partial"]


def test_everything_is_ready_while_it_runs(app):
    eventually(lambda: httpx.get(f"{app.url}/readyz", trust_env=False).status_code == 200)
    assert httpx.get(f"{app.url}/readyz", trust_env=False).json()["missing"] == []


def test_the_readmes_example_runs_as_written(app, key, tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    for said, here in (("http://127.0.0.1:7860", app.url), ("tr-...", key), ("smollm2-135m-instruct", "tiny")):
        assert said in code
        code = code.replace(said, here)
    (tmp_path / "rows.jsonl").write_bytes(rows(12))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    exec(compile(code, "README.md", "exec"), {})
    assert "created -> queued" in capsys.readouterr().out
