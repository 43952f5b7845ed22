"""A merge as the child runs it: one folder in, one model out, or a refusal and nothing."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.domain.base_model import BaseFacts, Shapes
from models.domain.errors import AppError, Code
from models.domain.job import JobKind
from models.domain.merging import MergeMode, MergeReport, StorageDtype
from models.domain.training import Quantisation
from tests.adapters import LINEAR, TREE, random_adapter
from tests.nursery import Born
from tests.sources import write_source
from tests.tiny import tiny_base
from tests.training import spawn
from worker.data.render import Renderer
from worker.device import device_facts
from worker.jobdir import JobDir, Order, files_below, sha256_of
from worker.loading import attach_adapter, load_base, load_dequantised
from worker.merge.plan import MergePlan, plan_merge
from worker.merge.run import carry_out, prepare, run
from worker.stop import Stop

CPU = device_facts("cpu")
BOTH_STORAGES = pytest.mark.parametrize("storage", list(StorageDtype))
BOTH_MODES = pytest.mark.parametrize("mode", list(MergeMode))


def decided_base(path: Path, tied: bool = True) -> Path:
    """A tiny base that is sure of its next token, as trained models are: strong embeddings. In a random one so many
    tokens are nearly equally likely that rounding to bf16 alone swaps the first of 2 % of them."""
    base = tiny_base(path, tied=tied)
    tensors = load_file(base / "model.safetensors")
    tensors["model.embed_tokens.weight"] *= 32
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    return base


def merge_job(root: Path, mode=MergeMode.FULL_PRECISION, storage=StorageDtype.BF16, tied=True, **adapter) -> JobDir:
    jobdir = JobDir(root)
    order = Order(
        job="ftjob-1", fence=1, kind=JobKind.MERGE,
        payload={"adapter": "adapter-1", "mode": mode, "storage": storage},
        facts={"base_tree_sha256": TREE}, threads=1,
    )  # fmt: skip
    jobdir.lay_out(order)
    decided_base(jobdir.inputs / "base", tied=tied)
    random_adapter(jobdir.inputs / "adapter", jobdir.inputs / "base", **adapter)
    return jobdir


def write_heldout(jobdir: JobDir, rows: int) -> None:
    talk, answer = {"role": "user", "content": "say"}, lambda text: {"role": "assistant", "content": text}
    answers = ["abcdefghij" * 6, *(f"{number} " * 20 for number in range(rows - 1))]
    write_source(jobdir.inputs / "heldout", [{"messages": [talk, answer(each)]} for each in answers])


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in files_below(folder)}


@BOTH_STORAGES
@BOTH_MODES
def test_the_merged_model_answers_like_its_adapter_on_the_same_weights(tmp_path, mode, storage):
    jobdir = merge_job(tmp_path, mode, storage)
    outcome = run(jobdir, Stop())
    report = MergeReport.model_validate(outcome.result["report"])
    assert report.passed
    assert report.arithmetic.merged_tensors == 2 * len(LINEAR)
    base = jobdir.inputs / "base"
    on = load_dequantised if mode is MergeMode.AS_TESTED else load_plain
    row = torch.tensor([Renderer.from_folder(base).prompt([{"role": "user", "content": "hello"}])])
    wanted = attach_adapter(on(base, CPU, torch.float32), jobdir.inputs / "adapter")(row).logits
    found = load_plain(jobdir.out, CPU, torch.float32)(row).logits
    scale = wanted.abs().max()
    assert (found - wanted).abs().max() / scale < (1e-5 if storage is StorageDtype.FP32 else 2e-2)


def load_plain(folder, facts, dtype):
    return load_base(folder, Quantisation.NONE, facts, dtype)


def skipped(part: str):
    def tamper(plan: MergePlan) -> MergePlan:
        return replace(plan, folds={name: fold for name, fold in plan.folds.items() if part not in name})

    return tamper


def scaled(plan: MergePlan) -> MergePlan:
    return replace(plan, folds={name: replace(fold, scale=0.9 * fold.scale) for name, fold in plan.folds.items()})


SABOTAGES = {
    "a skipped layer": skipped("layers.1."), "all q": skipped("q_proj"), "all k": skipped("k_proj"),
    "scale 0.9": scaled, "the last mlp": skipped("layers.1.mlp"),
}  # fmt: skip


@BOTH_STORAGES
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_sabotaged_merge_is_refused_by_both_checks_and_leaves_nothing(tmp_path, sabotage, storage):
    jobdir = merge_job(tmp_path, storage=storage)
    order = jobdir.order()
    work = prepare(jobdir, order)
    plan = SABOTAGES[sabotage](plan_merge(work.base_dir, work.adapter_dir, storage))
    with pytest.raises(AppError) as caught:
        carry_out(jobdir, order, work, plan, Stop())
    assert caught.value.code is Code.MERGE_REFUSED
    report = MergeReport.model_validate(caught.value.facts["report"])
    assert report.arithmetic.missing_modules or report.arithmetic.beyond_one_ulp
    said = report.logits
    assert said.top1_agreement < said.needed_top1 or said.mean_kl > said.allowed_kl
    assert not list(files_below(jobdir.out))
    assert not work.staged.exists()


def test_a_merge_is_a_base_folder_of_its_own_that_says_where_it_comes_from(tmp_path):
    jobdir = merge_job(tmp_path, storage=StorageDtype.FP32)
    run(jobdir, Stop())
    base = jobdir.inputs / "base"
    config = json.loads((jobdir.out / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    assert (jobdir.out / "chat_template.jinja").read_text() == (base / "chat_template.jinja").read_text()
    assert sha256_of(jobdir.out / "tokenizer.json") == sha256_of(base / "tokenizer.json")
    shapes, before = (Shapes.model_validate_json((at / "shapes.json").read_text()) for at in (jobdir.out, base))
    assert shapes.parameters == before.parameters
    assert {module.dtype for module in shapes.modules} == {"fp32"}
    facts = BaseFacts.model_validate_json((jobdir.out / "facts.json").read_text())
    assert facts.source == "merge"
    assert "tiny" in (facts.remark or "")
    assert json.loads((jobdir.out / "manifest.json").read_text())["trained_on"] == "nf4"


@pytest.mark.parametrize("tied", [True, False])
def test_a_changed_head_is_merged_and_a_tied_one_gets_its_own_weights(tmp_path, tied):
    jobdir = merge_job(tmp_path, tied=tied, targets=("q_proj", "lm_head"), size=0.05)
    report = MergeReport.model_validate(run(jobdir, Stop()).result["report"])
    assert report.passed
    assert json.loads((jobdir.out / "config.json").read_text())["tie_word_embeddings"] is False
    model = load_plain(jobdir.out, CPU, torch.float32)
    assert not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)


def test_a_tied_head_that_the_adapter_leaves_alone_stays_tied(tmp_path):
    jobdir = merge_job(tmp_path)
    run(jobdir, Stop())
    assert json.loads((jobdir.out / "config.json").read_text())["tie_word_embeddings"] is True
    assert "lm_head.weight" not in load_file(jobdir.out / "model.safetensors")


def test_the_scale_of_rslora_is_honoured(tmp_path):
    jobdir = merge_job(tmp_path, rslora=True, size=0.05)
    assert run(jobdir, Stop()).result["report"]["passed"]


def test_few_answer_tokens_never_say_passed_for_the_shift(tmp_path):
    jobdir = merge_job(tmp_path, storage=StorageDtype.FP32)
    write_heldout(jobdir, rows=3)
    shift = run(jobdir, Stop()).result["report"]["shift"]
    assert shift["verdict"] == "not_enough_data"
    assert 0 < shift["answer_tokens"] < 2000
    assert shift["interval_low"] < shift["difference"] < shift["interval_high"]
    warnings = [said for said in jobdir.said_since(0)[0] if said.type == "message"]
    assert "2000 are needed" in warnings[0].text


def test_with_enough_answer_tokens_the_shift_has_a_verdict_and_worse_is_refused(tmp_path):
    jobdir = merge_job(tmp_path, storage=StorageDtype.FP32, size=0.2)
    write_heldout(jobdir, rows=60)
    try:
        shift = run(jobdir, Stop()).result["report"]["shift"]
    except AppError as error:
        shift = error.facts["report"]["shift"]
        assert "as tested" in error.message
    assert shift["answer_tokens"] >= 2000
    assert shift["verdict"] == ("worse" if shift["interval_low"] > 0 else "not_worse")


def test_merging_as_tested_has_no_shift(tmp_path):
    shift = run(merge_job(tmp_path, MergeMode.AS_TESTED, StorageDtype.FP32), Stop()).result["report"]["shift"]
    assert shift["verdict"] == "not_applicable"


def another_tree(jobdir: JobDir) -> None:
    manifest = json.loads((jobdir.inputs / "adapter/manifest.json").read_text())
    manifest["base"]["tree_sha256"] = "c" * 64
    (jobdir.inputs / "adapter/manifest.json").write_text(json.dumps(manifest))


def another_revision(jobdir: JobDir) -> None:
    path = jobdir.inputs / "base/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rope_theta": 20000.0}))


def another_template(jobdir: JobDir) -> None:
    path = jobdir.inputs / "base/facts.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template_sha256": "d" * 64}))


def other_tokens(jobdir: JobDir) -> None:
    path = jobdir.inputs / "base/tokenizer.json"
    path.write_text(path.read_text() + " ")


@pytest.mark.parametrize("move", [another_tree, another_revision, another_template, other_tokens])
def test_an_adapter_of_another_base_revision_template_or_tokenizer_is_refused(tmp_path, move):
    jobdir = merge_job(tmp_path)
    move(jobdir)
    with pytest.raises(AppError) as caught:
        run(jobdir, Stop())
    assert caught.value.code is Code.ADAPTER_REFUSED
    assert not list(files_below(jobdir.out))


def test_an_adapter_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    jobdir = merge_job(tmp_path)
    base = tiny_base(tmp_path / "wider", hidden=64)
    with pytest.raises(AppError, match=r"\(64, 128\) was needed") as caught:
        plan_merge(jobdir.inputs / "base", random_adapter(tmp_path / "wide", base), StorageDtype.BF16)
    assert caught.value.code is Code.MERGE_REFUSED


@pytest.mark.parametrize("option", ["modules_to_save", "lora_bias"])
def test_an_adapter_that_is_more_than_plain_lora_is_refused(tmp_path, option):
    base = tiny_base(tmp_path / "base")
    adapter = random_adapter(tmp_path / "adapter", base)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {option: {"x": 1}}))
    with pytest.raises(AppError, match=option):
        plan_merge(base, adapter, StorageDtype.BF16)


def test_a_dora_adapter_without_its_lengths_is_refused(tmp_path):
    base = tiny_base(tmp_path / "base")
    adapter = random_adapter(tmp_path / "adapter", base)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dora": True}))
    with pytest.raises(AppError, match="lengths"):
        plan_merge(base, adapter, StorageDtype.BF16)


def test_a_stop_ends_the_merge_and_keeps_nothing(tmp_path):
    jobdir, stop = merge_job(tmp_path), Stop()
    stop.ask()
    assert run(jobdir, stop).status == "stopped"
    assert not list(files_below(jobdir.out))


def test_a_merge_killed_at_any_point_shows_nothing_and_its_rerun_gives_equal_bytes(tmp_path):
    whole = merge_job(tmp_path / "whole", storage=StorageDtype.FP32)
    run(whole, Stop())
    jobdir = merge_job(tmp_path / "killed", storage=StorageDtype.FP32)
    for said in ("merging", "files", "saving"):
        child = spawn(jobdir)
        kill_once(child, lambda word=said: jobdir.events.exists() and word in jobdir.events.read_text())
        assert hashes(jobdir.out) in ({}, hashes(whole.out))
        (jobdir.root / "outcome.json").unlink(missing_ok=True)
        jobdir.events.unlink(missing_ok=True)
    assert spawn(jobdir).wait(60) == 0
    assert jobdir.outcome().status == "succeeded"
    assert hashes(jobdir.out) == hashes(whole.out)


def kill_once(child: Born, condition) -> None:
    deadline = time.monotonic() + 60
    while not condition() and child.poll() is None:
        assert time.monotonic() < deadline, "it did not get there in time"
        time.sleep(0.005)
    child.kill()
    child.wait()


def test_leftovers_of_an_earlier_attempt_do_not_enter_the_merge(tmp_path):
    jobdir = merge_job(tmp_path, storage=StorageDtype.FP32)
    (jobdir.root / ".merging").mkdir()
    (jobdir.root / ".merging/half.safetensors").write_bytes(b"half")
    (jobdir.out / "old.json").write_text("{}")
    run(jobdir, Stop())
    assert {"half.safetensors", "old.json"}.isdisjoint(hashes(jobdir.out))


def test_a_sharded_base_gives_a_merge_in_the_same_shards(tmp_path):
    jobdir = merge_job(tmp_path, storage=StorageDtype.FP32)
    base = jobdir.inputs / "base"
    tensors = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    halves = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    for number, name in enumerate(sorted(tensors)):
        halves[list(halves)[number % 2]][name] = tensors[name]
    for file, half in halves.items():
        save_file(half, base / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, half in halves.items() for name in half}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    assert run(jobdir, Stop()).result["report"]["passed"]
    assert set(halves) <= set(hashes(jobdir.out))
    shutil.rmtree(base)
    assert load_plain(jobdir.out, CPU, torch.float32).config.num_hidden_layers == 2
