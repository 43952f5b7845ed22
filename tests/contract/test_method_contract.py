"""Every PEFT method of the catalog: its form renders, a tiny model trains, saves, reloads, and merges if it says so."""

import pytest
import torch
from peft import get_peft_config

from models.catalog.methods import METHODS
from models.domain.base_model import Shapes
from models.domain.errors import AppError, Code
from models.domain.training import MethodChoice, Quantisation
from tests.tiny import tiny_base
from tests.training import TREE_SHA256, training_job
from worker.device import device_facts
from worker.loading import attach_adapter, load_base, verify_adapter
from worker.stop import Stop
from worker.train.adapter import fresh_adapter
from worker.train.run import run

CPU = device_facts("cpu")
IDS = torch.tensor([[1, 40, 41, 42, 43, 44]])  # (B, T)


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return METHODS[request.param]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def shapes_of(base) -> Shapes:
    return Shapes.model_validate_json((base / "shapes.json").read_text())


def test_its_file_bears_its_name(method):
    assert METHODS[method.name] is method and method.title and method.description


def test_its_options_make_a_form_and_refuse_what_they_do_not_know(method):
    schema = method.options.model_json_schema()
    assert schema["additionalProperties"] is False
    assert all("title" in field for field in schema["properties"].values())
    with pytest.raises(ValueError):
        method.options.model_validate({"unheard_of": 1})


def test_its_config_is_one_that_peft_knows(method, base):
    config = get_peft_config(method.peft_config(shapes_of(base), method.options()))
    assert config.task_type == "CAUSAL_LM"


def test_its_cost_is_what_really_trains(method, base):
    model = fresh_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), MethodChoice(name=method.name),
                          shapes_of(base), seed=0)  # fmt: skip
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert counted == method.cost(shapes_of(base), method.options()) > 0


@pytest.mark.parametrize("quantisation", [str(kind) for kind in Quantisation])
def test_it_trains_saves_and_reloads(method, quantisation, tmp_path):
    jobdir = training_job(tmp_path, quantisation=quantisation, epochs=4)
    outcome = run(jobdir, Stop())
    assert outcome.status == "succeeded" and outcome.result["last_loss"] < 0.9 * outcome.result["first_loss"]
    assert verify_adapter(jobdir.out, jobdir.inputs / "base", TREE_SHA256).method == method.name


def test_it_merges_into_the_same_answers_if_it_says_so(method, tmp_path):
    if not method.is_mergeable:
        pytest.skip(f"{method.name} does not merge")
    jobdir = training_job(tmp_path)
    run(jobdir, Stop())
    adapted = attach_adapter(load_base(jobdir.inputs / "base", Quantisation.NONE, CPU, torch.float32), jobdir.out)
    before = adapted(IDS).logits
    assert torch.allclose(adapted.merge_and_unload()(IDS).logits, before, atol=1e-4)


def test_a_layer_that_the_base_does_not_have_is_named(base):
    method = METHODS["lora"]
    with pytest.raises(AppError) as caught:
        method.cost(shapes_of(base), method.options(targets=("q_proj", "attention")))
    assert caught.value.code is Code.INVALID_SETTING
    assert "no linear layer named attention; it has down_proj, gate_proj" in caught.value.message


def test_chosen_layers_alone_are_adapted(base):
    method = METHODS["lora"]
    options = method.options(targets=("q_proj", "v_proj"), rank=2)
    assert method.peft_config(shapes_of(base), options)["target_modules"] == ["q_proj", "v_proj"]
    assert method.cost(shapes_of(base), options) == 2 * 2 * (32 + 32 + 32 + 16)
