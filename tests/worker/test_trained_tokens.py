"""Trained tokens: single rows of the embedding and the head learn beside a LoRA, and the base stays as it is."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.catalog.methods import METHODS
from models.domain.errors import AppError, Code, Invalid
from models.domain.ids import Sha256
from models.domain.job import JobKind
from models.domain.merging import MergeMode, MergeReport, StorageDtype
from models.domain.training import MethodChoice, Quantisation
from tests.method_facts import shapes_of
from tests.tiny import tiny_base
from tests.training import TREE_SHA256, training_job
from worker.chat.residents import ResidentKey, Residents
from worker.data.base_folder import read_base_folder
from worker.device import device_facts
from worker.jobdir import JobDir, Order, files_below
from worker.loading import WEIGHTS, attach_adapter, load_base
from worker.merge.plan import plan_merge
from worker.merge.run import carry_out, prepare
from worker.merge.run import run as merge
from worker.stop import Stop
from worker.train.adapter import fresh_adapter
from worker.train.dead_tokens import dead_token_remarks
from worker.train.run import run

CPU = device_facts("cpu")
NEW = "<|im_end|>"  # 2, in every answer, and what the base pads with
IDS = torch.tensor([[1, 40, 2, 42, 43, 44]])  # (B, T)


def job(root, *, base=None, tokens=(NEW, "87"), quantisation="none", **wish):
    options = {"rank": 4, "trained_tokens": list(tokens)}
    return training_job(
        root, base=base, method=wish.pop("method", "lora"), options=options, quantisation=quantisation,
        data={"sample_rows": 0}, **wish,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By whether the head is the embedding."""
    jobs = {}
    for tied in (True, False):
        root = tmp_path_factory.mktemp("tokens")
        jobs[tied] = job(root / "job", base=tiny_base(root / "base", tied=tied))
        assert run(jobs[tied], Stop()).status == "succeeded"
    return jobs


@pytest.mark.parametrize(("tied", "rows"), [(True, 1), (False, 2)])
def test_the_rows_are_counted_and_are_what_trains_beside_the_matrices(tmp_path, tied, rows):
    base, method = tiny_base(tmp_path, tied=tied), METHODS["lora"]
    wish = {"rank": 2, "trained_tokens": ["2", "40", "41"]}
    plain = method.cost(shapes_of(base), method.options(rank=2))
    model = fresh_adapter(
        load_base(base, Quantisation.NONE, CPU, torch.float32), MethodChoice(name="lora", options=wish),
        shapes_of(base), seed=0,
    )  # fmt: skip
    found = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert found == method.cost(shapes_of(base), method.options(**wish)) == plain + 3 * 32 * rows


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_those_rows_alone_differ_from_the_base_in_what_it_serves(trained, tied):
    """By hand: the base with these rows and LoRA's matrices, as the file has them."""
    base, out = trained[tied].inputs / "base", trained[tied].out
    tables = {name: one for name, one in load_file(out / WEIGHTS).items() if "trainable_tokens" in name}
    assert len(tables) == (1 if tied else 2) and all(one.shape == (2, 32) for one in tables.values())
    residents = Residents(CPU, memory_bytes=10**9)
    key = ResidentKey(base=Sha256(TREE_SHA256), quantisation=Quantisation.NONE)
    alone = residents.ready(key, base)(IDS).logits
    said = residents.ready(key, base, Sha256("a" * 64), out)(IDS).logits
    by_hand = load_base(base, Quantisation.NONE, CPU, torch.float32)
    before = by_hand.get_input_embeddings().weight.clone()
    for name, one in tables.items():
        table = by_hand.get_submodule(name.removeprefix("base_model.model.").partition(".token_adapter")[0])
        assert not torch.allclose(table.weight[[2, 87]], one, atol=1e-4)
        table.weight[[2, 87]] = one
    without = _without_tokens(out, trained[tied].root / "plain")
    assert torch.allclose(said, attach_adapter(by_hand, without)(IDS).logits, atol=1e-4)
    assert not torch.allclose(said, alone, atol=1e-2)
    assert torch.equal(residents.ready(key, base)(IDS).logits, alone)
    residents.unload(key, Sha256("a" * 64))
    assert torch.equal(residents.ready(key, base)(IDS).logits, alone)
    assert torch.equal(residents.ready(key, base).get_input_embeddings().weight, before)


def _without_tokens(out, folder):
    """The same adapter as plain LoRA."""
    shutil.copytree(out, folder, dirs_exist_ok=True)
    config = json.loads((out / "adapter_config.json").read_text())
    config |= {"trainable_token_indices": None, "ensure_weight_tying": False}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    kept = {name: one for name, one in load_file(out / WEIGHTS).items() if "lora_" in name}
    save_file(kept, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("method", ["lora", "dora", "loraplus", "pissa", "rslora"])
@pytest.mark.parametrize("quantisation", ["int8", "nf4"])
def test_all_of_loras_kin_train_and_prove_them_on_quantised_bases(tmp_path, method, quantisation):
    jobdir = job(tmp_path, method=method, quantisation=quantisation)
    assert run(jobdir, Stop()).status == "succeeded"
    assert any("trainable_tokens" in name for name in load_file(jobdir.out / WEIGHTS))


def test_adapters_with_and_without_tokens_take_turns(trained, tmp_path):
    base = trained[True].inputs / "base"
    plain, other = job(tmp_path / "plain", tokens=()), job(tmp_path / "other", tokens=("41",))
    folders = {"a" * 64: trained[True].out, "b" * 64: plain.out, "c" * 64: other.out}
    for each in (plain, other):
        run(each, Stop())
    residents = Residents(CPU, memory_bytes=10**9)
    key = ResidentKey(base=Sha256(TREE_SHA256), quantisation=Quantisation.NONE)
    alone = residents.ready(key, base)(IDS).logits
    for name in ("a" * 64, "b" * 64, "c" * 64, "a" * 64, "b" * 64):
        said = residents.ready(key, base, Sha256(name), folders[name])(IDS).logits
        fresh = attach_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), folders[name])
        assert torch.allclose(said, fresh(IDS).logits, atol=1e-5)
        assert torch.equal(residents.ready(key, base)(IDS).logits, alone)


def test_in_bf16_the_rows_train_in_float32(tmp_path):
    jobdir = job(tmp_path, compute_dtype="bf16")
    assert run(jobdir, Stop()).status == "succeeded"
    assert {one.dtype for one in load_file(jobdir.out / WEIGHTS).values()} == {torch.float32}


def test_a_resumed_run_leaves_the_very_rows_of_one_that_was_not_interrupted(tmp_path):
    wish = {"epochs": 2, "save_every": 3}
    whole = job(tmp_path / "whole", **wish)
    assert run(whole, Stop()).status == "succeeded"
    checkpoint = next(whole.checkpoints.glob("step-*3"))
    rest = job(tmp_path / "rest", **wish, fence=2, resume_from=f"checkpoints/{checkpoint.name}")
    shutil.copytree(checkpoint, rest.checkpoints / checkpoint.name)
    assert run(rest, Stop()).status == "succeeded"
    assert (rest.out / WEIGHTS).read_bytes() == (whole.out / WEIGHTS).read_bytes()


def test_a_text_that_is_no_token_and_an_id_that_is_not_there_are_named(tmp_path):
    with pytest.raises(AppError, match='"nothing" is not one token of this base') as caught:
        run(job(tmp_path / "text", tokens=("nothing",)), Stop())
    assert caught.value.facts["param"] == "method.options.trained_tokens"
    shapes, method = shapes_of(tiny_base(tmp_path / "base")), METHODS["lora"]
    with pytest.raises(Invalid, match="no token 264; its ids go from 0 to 263"):
        method.cost(shapes, method.options(trained_tokens=("264",)))


@torch.no_grad()
def test_a_token_that_was_never_learnt_is_told_with_its_cure_until_it_is_trained(tmp_path):
    base = tiny_base(tmp_path)
    tokenizer = read_base_folder(base).tokenizer
    for tokens, said in (((), 1), (("2",), 0)):
        plain = load_base(base, Quantisation.NONE, CPU, torch.float32)
        plain.get_input_embeddings().weight[2] = 0.0
        choice = MethodChoice(name="lora", options={"rank": 2, "trained_tokens": tokens})
        model = fresh_adapter(plain, choice, shapes_of(base), seed=0).get_base_model()
        remarks = dead_token_remarks(model, {1, 2, 40}, tokenizer)
        assert len(remarks) == said
        assert all("never learnt: <|im_end|>." in one and "Trained tokens" in one for one in remarks)


# -- merged -------------------------------------------------------------------------------------------------------


def merge_of(root, trained: JobDir) -> JobDir:
    jobdir = JobDir(root)
    payload = {"adapter": "adapter-1", "mode": MergeMode.FULL_PRECISION, "storage": StorageDtype.FP32}
    facts = {"base_tree_sha256": TREE_SHA256}
    jobdir.lay_out(Order(job="ftjob-1", fence=1, kind=JobKind.MERGE, payload=payload, facts=facts, threads=1))
    shutil.copytree(trained.inputs / "base", jobdir.inputs / "base")
    shutil.copytree(trained.out, jobdir.inputs / "adapter")
    return jobdir


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_merged_they_take_the_place_of_the_bases_rows(trained, tmp_path, tied):
    jobdir = merge_of(tmp_path, trained[tied])
    report = MergeReport.model_validate(merge(jobdir, Stop()).result["report"])
    tables = 1 if tied else 2
    assert report.passed and report.arithmetic.merged_tensors == 2 * 7 + tables
    base, merged = (
        load_base(one, Quantisation.NONE, CPU, torch.float32) for one in (jobdir.inputs / "base", jobdir.out)
    )
    assert (merged.get_output_embeddings().weight is merged.get_input_embeddings().weight) is tied
    for table in ("get_input_embeddings", "get_output_embeddings"):
        one, other = (getattr(model, table)().weight for model in (base, merged))
        assert (one != other).any(dim=1).nonzero().flatten().tolist() == [2, 87]
    adapted = attach_adapter(base, jobdir.inputs / "adapter")
    assert torch.allclose(merged(IDS).logits, adapted(IDS).logits, atol=1e-5)


def _without_rows(plan):
    return replace(plan, rows={})


def _other_tokens(plan):
    rows = {name: replace(one, ids=tuple(token + 1 for token in one.ids)) for name, one in plan.rows.items()}
    return replace(plan, rows=rows)


@pytest.mark.parametrize("sabotage", [_without_rows, _other_tokens])
def test_a_merge_that_forgets_or_misplaces_them_is_refused(trained, tmp_path, sabotage):
    jobdir = merge_of(tmp_path, trained[True])
    order = jobdir.order()
    work = prepare(jobdir, order)
    plan = sabotage(plan_merge(work.base_dir, work.adapter_dir, StorageDtype.FP32))
    with pytest.raises(AppError) as caught:
        carry_out(jobdir, order, work, plan, Stop())
    report = MergeReport.model_validate(caught.value.facts["report"])
    assert report.arithmetic.missing_modules or report.arithmetic.beyond_one_ulp
    assert caught.value.code is Code.MERGE_REFUSED and not list(files_below(jobdir.out))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"trainable_token_indices": {"embed_tokens": [2]}}, "2 rows for model.embed_tokens and names 1 tokens"),
        ({"trainable_token_indices": {"embed_tokens": [2, 2]}}, "names 1 tokens"),
        ({"trainable_token_indices": {"embed_tokens": [2, 9999]}}, "ids up to 9999, for a table of 264 rows of 32"),
        ({"trainable_token_indices": None}, "names 0 tokens"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_written(trained, tmp_path, config, said):
    jobdir = merge_of(tmp_path, trained[True])
    path = jobdir.inputs / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(AppError, match=said) as caught:
        plan_merge(jobdir.inputs / "base", jobdir.inputs / "adapter", StorageDtype.FP32)
    assert caught.value.code is Code.MERGE_REFUSED


def test_tokens_that_are_named_and_have_no_rows_are_refused(trained, tmp_path):
    jobdir = merge_of(tmp_path, trained[True])
    path = jobdir.inputs / "adapter" / WEIGHTS
    save_file({name: one for name, one in load_file(path).items() if "lora_" in name}, path)
    with pytest.raises(AppError, match="holds no rows of theirs"):
        plan_merge(jobdir.inputs / "base", jobdir.inputs / "adapter", StorageDtype.FP32)
