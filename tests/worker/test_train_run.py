"""A training job from directory to adapter: what it leaves, what it says, and how it ends."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from models.domain.adapter import AdapterManifest
from models.domain.errors import AppError, Code
from models.domain.job import CancelWish
from tests.sources import write_source
from tests.tiny import STOP_ID
from tests.training import TREE_SHA256, conversations, losses, training_job
from worker.data.render import Renderer
from worker.jobdir import newest_valid_checkpoint
from worker.loading import verify_adapter
from worker.stop import Stop
from worker.train import samples
from worker.train.run import run


def said(jobdir, kind):
    return [one for one in jobdir.said_since(0)[0] if one.type == kind]


def manifest_of(jobdir) -> AdapterManifest:
    return AdapterManifest.model_validate_json((jobdir.out / "manifest.json").read_text())


def test_a_training_learns_and_leaves_a_proven_adapter(tmp_path):
    jobdir = training_job(tmp_path, validation=conversations()[:4], quantisation="nf4", epochs=4)
    outcome = run(jobdir, Stop())
    assert outcome.status == "succeeded" and outcome.result["steps"] == 12
    assert outcome.result["loss_after"] < 0.8 * outcome.result["loss_before"]
    assert sorted(path.name for path in jobdir.out.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    ]  # fmt: skip
    assert list(losses(jobdir)) == list(range(1, 13))
    assert [one.step for one in said(jobdir, "eval")] == [0, 3, 6, 9, 12]
    assert outcome.result["trained_tokens"] == sum(one.trained_tokens for one in said(jobdir, "step"))


def test_equal_trainings_leave_equal_bytes(tmp_path):
    one, two = (training_job(tmp_path / name, options={"dropout": 0.1}) for name in ("1", "2"))
    run(one, Stop()), run(two, Stop())
    for path in one.out.iterdir():
        assert path.read_bytes() == (two.out / path.name).read_bytes(), path.name


def test_the_saved_config_names_the_base_and_no_path(tmp_path):
    jobdir = training_job(tmp_path)
    run(jobdir, Stop())
    text = (jobdir.out / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "tiny" and str(tmp_path) not in text
    assert config["target_modules"] == sorted(config["target_modules"])


def test_every_row_trains_exactly_as_often_as_there_are_epochs(tmp_path):
    jobdir = training_job(tmp_path, rows=conversations(11), epochs=3, micro_batch_rows=3)
    outcome = run(jobdir, Stop())
    per_epoch = outcome.result["trained_tokens"] / 3
    assert per_epoch == sum(len(row["messages"][1]["content"]) + 1 for row in conversations(11))
    assert outcome.result["steps"] == 9


def test_dropout_is_off_while_the_validation_rows_are_measured(tmp_path):
    with_dropout, without = (
        training_job(tmp_path / str(rate), validation=conversations()[:4], options={"dropout": rate})
        for rate in (0.5, 0.0)
    )
    run(with_dropout, Stop()), run(without, Stop())
    assert said(with_dropout, "eval")[0].loss_per_token == said(without, "eval")[0].loss_per_token


def test_the_manifest_binds_the_adapter_to_its_base(tmp_path):
    jobdir = training_job(tmp_path)
    run(jobdir, Stop())
    base = jobdir.inputs / "base"
    assert verify_adapter(jobdir.out, base, TREE_SHA256).target_modules[0] == "model.layers.0.mlp.down_proj"
    with pytest.raises(AppError) as caught:
        verify_adapter(jobdir.out, base, "0" * 64)
    assert caught.value.code is Code.ADAPTER_REFUSED and "base's content" in caught.value.message


@pytest.mark.parametrize("spoiled", ["config.json", "tokenizer.json", "facts.json", "weights", "name", "manifest"])
def test_an_adapter_is_refused_where_anything_it_depends_on_has_moved(tmp_path, spoiled):
    jobdir = training_job(tmp_path)
    run(jobdir, Stop())
    base, out = jobdir.inputs / "base", jobdir.out
    match spoiled:
        case "config.json" | "tokenizer.json":
            (base / spoiled).write_text((base / spoiled).read_text() + " ")
        case "facts.json":
            facts = json.loads((base / spoiled).read_text())
            (base / spoiled).write_text(json.dumps({**facts, "chat_template_sha256": "0" * 64}))
        case "weights":
            data = bytearray((out / "adapter_model.safetensors").read_bytes())
            data[-1] ^= 1
            (out / "adapter_model.safetensors").write_bytes(data)
        case "name":
            config = json.loads((out / "adapter_config.json").read_text())
            (out / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "other"}))
        case "manifest":
            (out / "manifest.json").unlink()
    with pytest.raises(AppError) as caught:
        verify_adapter(out, base, TREE_SHA256)
    assert caught.value.code is Code.ADAPTER_REFUSED


def test_trained_weights_are_float32_on_a_bf16_base(tmp_path):
    jobdir = training_job(tmp_path, compute_dtype="bf16", quantisation="nf4")
    assert run(jobdir, Stop()).result["manifest"]["compute_dtype"] == "bf16"
    tensors = load_file(jobdir.out / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


class StopAfter(Stop):
    """Asks to stop once `steps` optimiser steps have been said."""

    def __init__(self, jobdir, steps):
        super().__init__()
        self._jobdir, self._steps = jobdir, steps

    def asked(self):
        return len(losses(self._jobdir)) >= self._steps


@pytest.mark.parametrize("wish", [CancelWish.KEEP, CancelWish.DISCARD, None])
def test_a_stopped_training_checkpoints_and_keeps_its_adapter_only_if_wished(tmp_path, wish):
    jobdir = training_job(tmp_path, epochs=5)
    jobdir.ask_to_stop(wish)
    outcome = run(jobdir, StopAfter(jobdir, 4))
    assert outcome.status == "stopped" and outcome.result["steps"] == 4
    found = newest_valid_checkpoint(jobdir.checkpoints)
    assert found is not None and found[1].step == 4
    assert outcome.result["is_kept"] == (wish is CancelWish.KEEP) == (jobdir.out / "manifest.json").exists()
    if wish is CancelWish.KEEP:
        verify_adapter(jobdir.out, jobdir.inputs / "base", TREE_SHA256)


def test_two_checkpoints_and_the_best_are_kept(tmp_path):
    jobdir = training_job(tmp_path, validation=conversations()[:4], epochs=6, learning_rate=0.3)
    run(jobdir, Stop())
    by_loss = sorted((one.loss_per_token, one.step) for one in said(jobdir, "eval") if one.step)
    kept = sorted(int(path.name.removeprefix("step-")) for path in jobdir.checkpoints.glob("step-*"))
    assert kept == sorted({15, 18, by_loss[0][1]})


def test_short_schedules_carry_a_warning_that_names_the_cure(tmp_path):
    jobdir = training_job(tmp_path)
    run(jobdir, Stop())
    assert any("only 3 optimiser steps" in one.text for one in said(jobdir, "message"))


def test_changed_rows_are_refused_before_anything_loads(tmp_path):
    jobdir = training_job(tmp_path)
    with (jobdir.inputs / "train" / "files" / "0").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(AppError) as caught:
        run(jobdir, Stop())
    assert caught.value.code is Code.INVALID_TRAINING_FILE


def test_an_unknown_method_or_option_is_a_sentence(tmp_path):
    with pytest.raises(AppError) as caught:
        run(training_job(tmp_path, options={"rank": 0}), Stop())
    assert caught.value.code is Code.INVALID_SETTING and "rank" in caught.value.message


def test_validation_rows_come_from_the_training_rows_where_no_file_is_given(tmp_path):
    jobdir = training_job(tmp_path, data={"validation_fraction": 0.25})
    outcome = run(jobdir, Stop())
    assert outcome.result["manifest"]["data"]["rows"] == 9
    assert outcome.result["loss_before"] is not None


def test_a_broken_validation_file_is_named_as_such(tmp_path):
    jobdir = training_job(tmp_path)
    write_source(jobdir.inputs / "validation", [{"nothing": 1}])
    with pytest.raises(AppError) as caught:
        run(jobdir, Stop())
    assert caught.value.code is Code.INVALID_VALIDATION_FILE


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_samples_come_with_every_evaluation_and_change_nothing_of_what_is_learnt(tmp_path, quantisation):
    held_out = [*conversations()[:2], conversations()[0], {"messages": conversations(4)[3]["messages"] * 2}]
    without, with_samples = (
        training_job(
            tmp_path / str(rows), validation=held_out, quantisation=quantisation, epochs=3, save_every=2,
            options={"dropout": 0.1}, data={"sample_rows": rows, "sample_tokens": 12},
        )
        for rows in (0, 4)
    )  # fmt: skip
    run(without, Stop()), run(with_samples, Stop())
    for path in without.out.iterdir():
        assert path.read_bytes() == (with_samples.out / path.name).read_bytes(), path.name
    assert losses(without) == losses(with_samples)
    assert said(without, "sample") == []
    told = said(with_samples, "sample")
    assert [(one.step, one.question) for one in told] == [(step, row) for step in (0, 3, 6, 9) for row in (0, 1, 2)]
    assert [(one.prompt, one.reference) for one in told[:3]] == [
        ("Which colour has number 0?", "red"), ("Which colour has number 1??", "greengreen"),
        ("Which colour has number 3????", "greygrey"),
    ]  # fmt: skip
    assert len({one.answer for one in told if one.question == 0}) > 1


def test_a_sample_ends_where_the_model_ends_and_says_what_it_has_learnt(tmp_path):
    row = {"messages": [{"role": "user", "content": "Say it"}, {"role": "assistant", "content": "abab"}]}
    jobdir = training_job(
        tmp_path, rows=[row] * 12, validation=[row], epochs=20, learning_rate=0.03, evaluate_every=100,
        options={"rank": 16}, data={"sample_rows": 1},
    )  # fmt: skip
    run(jobdir, Stop())
    first, *_, last = said(jobdir, "sample")
    assert (last.answer, last.is_cut) == ("abab", False)
    assert first.step == 0 and first.answer != "abab"


def test_a_sample_is_what_chat_would_answer(tmp_path):
    """Against transformers' own greedy decoding, from the prompt as the base's template writes it."""
    jobdir = training_job(tmp_path, validation=conversations()[:1], data={"sample_rows": 1, "sample_tokens": 9})
    run(jobdir, Stop())
    base = jobdir.inputs / "base"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.tensor([Renderer.from_folder(base).prompt(conversations()[0]["messages"][:1])])
    told = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, eos_token_id=STOP_ID
    )
    told = told[0, ids.shape[1] :].tolist()
    expected = Renderer.from_folder(base).tokenizer.decode(told, skip_special_tokens=True).strip()
    assert said(jobdir, "sample")[0].answer == expected.replace("\0", "\ufffd")


def test_a_base_that_cannot_be_sampled_trains_on_with_one_remark(tmp_path, monkeypatch):
    def no_cache(**_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(samples, "DynamicCache", no_cache)
    jobdir = training_job(tmp_path, validation=conversations()[:4], epochs=2, data={"sample_rows": 4})
    assert run(jobdir, Stop()).status == "succeeded"
    (remark,) = [one for one in said(jobdir, "message") if "sample" in one.text]
    assert remark.text.startswith("no sample at step 0, and none from here on: the device has no memory left")
    assert said(jobdir, "sample") == []


def test_no_sample_is_longer_than_the_base_can_read(tmp_path):
    """The tiny base reads 512 tokens, this prompt has about 500."""
    row = {"messages": [{"role": "user", "content": "x" * 470}, {"role": "assistant", "content": "y"}]}
    jobdir = training_job(tmp_path, validation=[row], data={"sample_rows": 1, "sample_tokens": 256})
    run(jobdir, Stop())
    prompt = len(Renderer.from_folder(jobdir.inputs / "base").prompt(row["messages"][:1]))
    assert 470 < prompt < 512
    assert all(len(one.answer.encode()) <= 4 * (512 - prompt) for one in said(jobdir, "sample"))
    assert len(said(jobdir, "sample")) == 2


def test_plain_texts_are_no_questions_and_that_is_said(tmp_path):
    held_out = [{"messages": conversations()[0]["messages"]}]
    jobdir = training_job(tmp_path, validation=held_out, data={"sample_rows": 1})
    write_source(jobdir.inputs / "validation", [{"text": "All that is held out."}])
    run(jobdir, Stop())
    assert said(jobdir, "eval") and not said(jobdir, "sample")
    assert any("no samples are taken" in one.text for one in said(jobdir, "message"))


def test_the_manifest_says_which_rows_of_which_versions_were_trained_on(tmp_path):
    rows = conversations(20)
    mix = {"mixed": [{"file": "file-2", "weight": 0.5}], "split_seed": 5, "drop_duplicates": True}
    jobdir = training_job(tmp_path, rows=[*rows, rows[0]], data={"rows": mix, "validation_fraction": 0.1})
    facts = write_source(jobdir.inputs / "mixed-1", [{"text": f"document {number}"} for number in range(10)])
    data = AdapterManifest.model_validate(run(jobdir, Stop()).result["manifest"]).data
    own, mixed = data.sources
    assert (own.sha256, mixed.sha256) == (data.training_sha256, facts.sha256)
    assert (own.rows, own.usable_rows, own.taken, mixed.taken, mixed.weight) == (21, 21, 20, 5, 0.5)
    assert data.split is not None and (data.split.seed, data.split.rows) == (5, 2)
    assert own.held_back + mixed.held_back == 2 and data.rows == own.trained + mixed.trained == 23
    assert data.left_out == {"duplicate": 1, "not_drawn": 5} and (data.tokens or 0) > data.trained_tokens


def test_a_wish_to_stop_is_heard_while_rows_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.train.run.SECONDS_BETWEEN_REPORTS", 0.0)
    jobdir = training_job(tmp_path, rows=conversations(120))

    class StopAtOnce(Stop):
        def asked(self):
            return True

    assert run(jobdir, StopAtOnce()).status == "stopped"
    assert said(jobdir, "phase")[-1].phase == "planning" and said(jobdir, "progress")[-1].unit == "rows"
