"""Bias-only tuning: the base's biases and nothing else, added beside them and taken away again."""

import pytest
import torch
from safetensors.torch import load_file

from models.catalog.methods import METHODS
from models.domain.errors import Invalid
from models.domain.ids import Sha256
from models.domain.training import Quantisation
from tests.method_facts import base_for, shapes_of
from tests.tiny import tiny_base
from tests.training import TREE_SHA256, training_job
from worker.chat.residents import ResidentKey, Residents
from worker.device import device_facts
from worker.loading import WEIGHTS, load_base
from worker.stop import Stop
from worker.train.run import run

CPU = device_facts("cpu")
IDS = torch.tensor([[1, 40, 41, 42, 43, 44]])  # (B, T)
BIAS = METHODS["bias"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    jobdir = training_job(
        tmp_path_factory.mktemp("bias"), base=base_for("bias"), method="bias", data={"sample_rows": 0}, weight_decay=0.1
    )
    assert run(jobdir, Stop()).status == "succeeded"
    return jobdir


def test_a_base_without_biases_is_refused_beside_the_method(tmp_path):
    with pytest.raises(Invalid, match="have no biases, as those of most bases since Llama") as caught:
        BIAS.cost(shapes_of(tiny_base(tmp_path)), BIAS.options())
    assert caught.value.facts["param"] == "method.name"


def test_what_learns_is_one_number_for_each_output_that_has_a_bias():
    assert BIAS.cost(shapes_of(base_for("bias")), BIAS.options()) == 2 * (32 + 16 + 16)


@torch.no_grad()
def test_it_answers_as_the_base_with_those_biases_added_and_is_undone(trained):
    base, found = trained.inputs / "base", load_file(trained.out / WEIGHTS)
    assert all(one.any() == name.endswith("lora_B.bias") for name, one in found.items())
    by_hand = load_base(base, Quantisation.NONE, CPU, torch.float32)
    residents = Residents(CPU, memory_bytes=10**9)
    key = ResidentKey(base=Sha256(TREE_SHA256), quantisation=Quantisation.NONE)
    alone = residents.ready(key, base)(IDS).logits
    assert torch.equal(by_hand(IDS).logits, alone)
    for name, one in found.items():
        if name.endswith("lora_B.bias"):
            layer = by_hand.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_B.bias"))
            layer.bias.add_(one)
    said = residents.ready(key, base, Sha256("a" * 64), trained.out)(IDS).logits
    assert torch.allclose(said, by_hand(IDS).logits, atol=1e-4) and not torch.allclose(said, alone, atol=1e-2)
    assert torch.equal(residents.ready(key, base)(IDS).logits, alone)
