"""Every PEFT method of the catalog: its form renders, a tiny model trains, saves, reloads, and merges if it says so."""

import shutil
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_config

from models.catalog.method_facts import Structure, fact
from models.catalog.methods import METHODS
from models.catalog.methods.base import Family
from models.catalog.targets import adapted_modules, last_name
from models.domain.errors import AppError, Code
from models.domain.job import JobKind
from models.domain.training import MethodChoice, Quantisation
from tests.method_facts import DOCS, base_for, measure, moved, shapes_of, small, with_table
from tests.moe import tiny_moe
from tests.tiny import tiny_base
from tests.training import TREE_SHA256, training_job
from worker.device import device_facts
from worker.jobdir import JobDir, Order
from worker.loading import WEIGHTS, attach_adapter, load_base, take_off, verify_adapter
from worker.merge.run import run as merge
from worker.methods.rates import parameter_groups
from worker.stop import Stop
from worker.train.adapter import fresh_adapter, save_adapter
from worker.train.run import run

CPU = device_facts("cpu")
IDS = torch.tensor([[1, 40, 41, 42, 43, 44]])  # (B, T)


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return METHODS[request.param]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def test_its_file_bears_its_name(method):
    assert METHODS[method.name] is method and method.title and method.description


def test_its_options_make_a_form_and_refuse_what_they_do_not_know(method):
    schema = method.options.model_json_schema()
    assert schema["additionalProperties"] is False
    assert all("title" in field for field in schema["properties"].values())
    with pytest.raises(ValueError):
        method.options.model_validate({"unheard_of": 1})


def test_its_config_is_one_that_peft_knows(method):
    base = base_for(method.name)
    config = get_peft_config(method.peft_config(shapes_of(base), method.options()))
    assert config.task_type == "CAUSAL_LM"


def test_its_cost_is_what_really_trains(method):
    base = base_for(method.name)
    model = fresh_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), MethodChoice(name=method.name),
                          shapes_of(base), seed=0)  # fmt: skip
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert counted == method.cost(shapes_of(base), method.options()) > 0


@pytest.mark.parametrize("quantisation", [str(kind) for kind in Quantisation])
def test_it_trains_saves_and_reloads(method, quantisation, tmp_path):
    options = {"rank": 4} if "rank" in method.options.model_fields else {}
    jobdir = training_job(
        tmp_path, base=base_for(method.name), method=method.name, options=options, quantisation=quantisation, epochs=3,
        data={"sample_rows": 0},
        learning_rate=0.01 if method.family is Family.LORA else 0.1,
    )  # fmt: skip
    outcome = run(jobdir, Stop())
    assert outcome.status == "succeeded" and outcome.result["last_loss"] < 0.95 * outcome.result["first_loss"]
    assert verify_adapter(jobdir.out, jobdir.inputs / "base", TREE_SHA256).method == method.name


@pytest.mark.parametrize("quantisation", [str(kind) for kind in Quantisation])
@pytest.mark.parametrize("structure", list(Structure))
def test_the_table_says_what_really_works(method, quantisation, structure):
    """`python -m tests.method_facts` writes it anew, and docs/training.md with it."""
    found = measure(method.name, Quantisation(quantisation), structure)
    assert found == fact(method.name, Quantisation(quantisation), structure)
    assert not method.is_mergeable or found.merges or not found.trains


def test_before_the_first_step_it_answers_exactly_like_the_base(method):
    """With virtual tokens: like the base behind those, see tests/worker/test_virtual_tokens.py."""
    base = base_for(method.name)
    if method.in_front(method.options()):
        pytest.skip(f"{method.name} is not the base at its start")
    plain = load_base(base, Quantisation.NONE, CPU, torch.float32)
    before = plain(IDS).logits
    model = fresh_adapter(plain, MethodChoice(name=method.name, options=small(method.name)), shapes_of(base), seed=0)
    assert torch.allclose(model.eval()(IDS).logits, before, atol=1e-5)


@pytest.mark.parametrize("quantisation", list(Quantisation))
def test_the_bases_own_weights_are_untouched_by_loading_switching_and_unloading(method, quantisation, tmp_path):
    save_adapter(moved(method.name, quantisation, Structure.DENSE), tmp_path, "tiny")
    base = load_base(base_for(method.name), quantisation, CPU, torch.float32)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items() if isinstance(tensor, torch.Tensor)}
    said = base(IDS).logits
    adapted = attach_adapter(base, tmp_path)
    with adapted.disable_adapter():
        assert torch.equal(adapted(IDS).logits, said)
    adapted(IDS)
    take_off(adapted)
    assert torch.equal(base(IDS).logits, said)
    after = base.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_published_merge_of_it_passes_the_gate_if_it_says_so(method, tmp_path):
    if not method.is_mergeable:
        pytest.skip(f"{method.name} does not merge")
    options = {"rank": 4} if "rank" in method.options.model_fields else {}
    trained = training_job(tmp_path / "t", method=method.name, options=options, data={"sample_rows": 0})
    run(trained, Stop())
    jobdir = JobDir(tmp_path / "m")
    jobdir.lay_out(
        Order(
            job="ftjob-2", fence=1, kind=JobKind.MERGE, facts={"base_tree_sha256": TREE_SHA256}, threads=1,
            payload={"adapter": "adapter-1", "storage": "fp32"},
        )
    )  # fmt: skip
    shutil.copytree(trained.inputs / "base", jobdir.inputs / "base")
    shutil.copytree(trained.out, jobdir.inputs / "adapter")
    assert merge(jobdir, Stop()).result["report"]["passed"]


def test_ranks_of_single_layers_keep_the_scale_of_all(base):
    options = {"rank": 4, "alpha": 8, "rank_pattern": {"down_proj": 8, "model.layers.0.self_attn.*": 2}}
    for name in ("lora", "rslora"):
        choice = MethodChoice(name=name, options=options)
        model = fresh_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), choice, shapes_of(base), seed=0)
        layers: dict[str, Any] = {
            path: one for path, one in model.get_base_model().named_modules() if hasattr(one, "lora_A")
        }
        ranks = {path: one.r["default"] for path, one in layers.items()}
        assert ranks["model.layers.1.mlp.down_proj"] == 8 and ranks["model.layers.0.self_attn.q_proj"] == 2
        assert ranks["model.layers.1.self_attn.q_proj"] == 4
        scales = [one.scaling["default"] for one in layers.values()]
        assert scales == pytest.approx([8 / 4 if name == "lora" else 8 / 2] * len(scales))


def test_loraplus_moves_b_sixteen_times_as_far_as_a(base):
    """Adam's first step is as long as its rate, whatever the gradient (arXiv:2402.12354)."""
    choice = MethodChoice(name="loraplus", options={"rank": 4})
    model = fresh_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), choice, shapes_of(base), seed=0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    torch.optim.AdamW(parameter_groups(model, 1e-3, 0.0) or []).step()
    moved = {name: float((before[name] - parameter).abs().max()) for name, parameter in model.named_parameters()}
    assert {round(far, 5) for name, far in moved.items() if "lora_B" in name} == {0.016}
    assert {round(far, 5) for name, far in moved.items() if "lora_A" in name} == {0.001}


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("q+v", {"q_proj", "v_proj"}),
        (("model.layers.1.mlp.*", "q_proj"), {"gate_proj", "up_proj", "down_proj", "q_proj"}),
    ],
)
def test_layers_are_chosen_by_a_word_by_names_or_by_patterns(base, targets, names):
    found = adapted_modules(shapes_of(base), targets)
    assert {last_name(module) for module in found} == names
    assert all("layers.1" in module.name for module in found if ".mlp." in module.name)


def test_a_mixture_keeps_its_experts_and_its_router(tmp_path):
    shapes = shapes_of(tiny_moe(tmp_path / "base"))
    assert {last_name(module) for module in adapted_modules(shapes, "all-linear")} == {
        "q_proj", "k_proj", "v_proj", "o_proj",
    }  # fmt: skip


def test_a_layer_that_the_base_does_not_have_is_named(base):
    method = METHODS["lora"]
    with pytest.raises(AppError) as caught:
        method.cost(shapes_of(base), method.options(targets=("q_proj", "attn_out")))
    assert caught.value.code is Code.INVALID_SETTING
    assert "no linear layer named attn_out; it has down_proj, gate_proj" in caught.value.message


def test_chosen_layers_alone_are_adapted(base):
    method = METHODS["lora"]
    options = method.options(targets=("q_proj", "v_proj"), rank=2)
    assert method.peft_config(shapes_of(base), options)["target_modules"] == ["q_proj", "v_proj"]
    assert method.cost(shapes_of(base), options) == 2 * 2 * (32 + 32 + 32 + 16)


def test_the_page_about_training_shows_the_table():
    assert DOCS.read_text() == with_table(DOCS.read_text())


def pissa(base, rank=4, **options) -> PeftModel:
    choice = MethodChoice(name="pissa", options={"rank": rank, **options})
    return fresh_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), choice, shapes_of(base), seed=0)


def test_pissa_starts_from_the_best_low_rank_approximation_of_each_weight(base):
    """The product of its learning half is U S V' of the largest singular values (arXiv:2404.02948, eq. 2 and 3)."""
    layer: Any = pissa(base).get_base_model().get_submodule("model.layers.0.mlp.up_proj")
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    left, values, right = torch.linalg.svd(layer.get_base_layer().weight)
    best = left[:, :4] @ torch.diag(values[:4]) @ right[:4]
    assert torch.allclose(layer.scaling["default"] * b[:, :4] @ a[:4], best, atol=1e-4)


def test_only_the_learning_half_of_pissa_moves(base):
    model = pissa(base)
    before = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}
    model(input_ids=IDS, labels=IDS).loss.backward()
    torch.optim.AdamW(parameter_groups(model, 1e-2, 0.1) or []).step()
    for name, parameter in model.named_parameters():
        if name in before:
            axis = 0 if "lora_A" in name else 1
            learning, frozen = (parameter - before[name]).abs().chunk(2, dim=axis)
            assert learning.max() > 0 and frozen.max() == 0


def test_a_pissa_rank_above_a_layers_width_is_refused_with_the_width(base):
    with pytest.raises(AppError, match="at most 16"):
        pissa(base, rank=20, targets="k_proj")


def test_a_resumed_run_of_it_leaves_the_very_weights_of_one_that_was_not_interrupted(method, tmp_path):
    """Its own rates, groups and frozen halves are there again, and so is the optimiser's memory of them."""
    wish: dict[str, Any] = {
        "base": base_for(method.name), "method": method.name,
        "options": {"rank": 4} if "rank" in method.options.model_fields else {},
        "quantisation": "nf4", "data": {"sample_rows": 0}, "epochs": 2, "save_every": 3, "weight_decay": 0.1,
    }  # fmt: skip
    whole = training_job(tmp_path / "whole", **wish)
    assert run(whole, Stop()).status == "succeeded"
    checkpoint = next(whole.checkpoints.glob("step-*3"))
    rest = training_job(tmp_path / "rest", **wish, fence=2, resume_from=f"checkpoints/{checkpoint.name}")
    shutil.copytree(checkpoint, rest.checkpoints / checkpoint.name)
    assert run(rest, Stop()).status == "succeeded"
    assert (rest.out / WEIGHTS).read_bytes() == (whole.out / WEIGHTS).read_bytes()
