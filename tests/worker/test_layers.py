"""Gated units and norms that walk through memory less often: the same numbers, gradients and answers."""

import copy

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from models.domain.base_model import Shapes
from models.domain.training import MethodChoice, Quantisation
from tests.tiny import tiny_base
from worker.device import device_facts
from worker.loading import load_base
from worker.methods import layers
from worker.methods.layers import lighten
from worker.train.adapter import fresh_adapter


def config(activation="silu"):
    return LlamaConfig(hidden_size=40, intermediate_size=104, num_attention_heads=4, hidden_act=activation)


class Layer(nn.Module):
    def __init__(self, activation="silu"):
        super().__init__()
        torch.manual_seed(1)
        self.norm, self.mlp = LlamaRMSNorm(40, eps=1e-5), LlamaMLP(config(activation))
        self.norm.weight.data.uniform_(0.5, 2)
        self.requires_grad_(False)

    def forward(self, x):
        return self.mlp(self.norm(x))


def made(layer, x, grad):
    given = x.clone().requires_grad_()
    out = layer(given)
    return out.detach(), torch.autograd.grad(out, given, grad)[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (3, 11), (2, 2500)])
def test_values_and_gradients_are_those_of_the_plain_layers(shape):
    plain = Layer()
    light = copy.deepcopy(plain)
    assert lighten(light) == 2
    x, grad = torch.randn(*shape, 40) * 3, torch.randn(*shape, 40)
    for one, other in zip(made(plain, x, grad), made(light, x, grad), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_gradients_agree_with_differences():
    """In the way of torch.autograd.gradcheck, which wants float64: in float32 by the direction of the gradient."""
    light = Layer()
    lighten(light)
    x, grad = torch.randn(1, 9, 40), torch.randn(1, 9, 40)
    found, along, step = made(light, x, grad)[1], torch.randn(1, 9, 40), 1e-2
    with torch.no_grad():
        slope = ((light(x + step * along) - light(x - step * along)) * grad).sum() / (2 * step)
    assert slope.item() == pytest.approx((found * along).sum().item(), rel=2e-3)


@pytest.mark.parametrize("activation", [name for name in ("gelu", "relu", "gelu_pytorch_tanh") if name in ACT2FN])
def test_another_activation_is_left_as_it_is(activation):
    layer = Layer(activation)
    assert lighten(layer) == 1 and "forward" not in vars(layer.mlp)


def test_layers_that_only_look_alike_are_left_as_they_are():
    class Swapped(LlamaMLP):
        def forward(self, x):
            return self.down_proj(self.act_fn(self.up_proj(x)) * self.gate_proj(x))

    class CentredRMSNorm(LlamaRMSNorm):
        def forward(self, hidden_states):
            return super().forward(hidden_states) + hidden_states * 1e-3

    class Twofold(LlamaMLP):
        def forward(self, x, times):
            return times * super().forward(x)

    kinds = nn.ModuleList([Swapped(config()), CentredRMSNorm(40), Twofold(config())])
    assert lighten(kinds) == 0


def test_in_bf16_and_with_a_trained_weight_nothing_changes():
    layer = Layer().to(torch.bfloat16)
    assert lighten(layer.norm) == 0
    x = torch.randn(2, 5, 40, dtype=torch.bfloat16)
    before = layer(x)
    lighten(layer)
    assert torch.equal(layer(x), before)
    trained = Layer()
    lighten(trained)
    trained.norm.weight.requires_grad_()
    trained(torch.randn(2, 5, 40)).sum().backward()
    assert trained.norm.weight.grad is not None


def test_a_gate_keeps_three_tensors_of_its_width_where_it_kept_four():
    def kept(layer):
        found = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one: found.setdefault(one.data_ptr(), one.numel()) and one, lambda one: one
        ):
            layer(torch.randn(2, 50, 40).requires_grad_())
        return sum(size == 2 * 50 * 104 for size in found.values())

    plain, light = Layer(), Layer()
    for layer in (plain, light):
        for projection in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
            projection.weight.requires_grad_()
    lighten(light)
    assert (kept(plain), kept(light)) == (4, 3)


@pytest.mark.parametrize("method", ["lora", "ia3", "layernorm", "dora"])
def test_an_adapted_model_answers_and_learns_as_without(tmp_path, monkeypatch, method):
    base = tiny_base(tmp_path / "base")
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    ids = torch.randint(0, 60, (2, 33), generator=torch.Generator().manual_seed(3))

    def learnt():
        loaded = load_base(base, Quantisation.NONE, device_facts("cpu"), torch.float32)
        model = fresh_adapter(loaded, MethodChoice(name=method, options={}), shapes, seed=1).eval()
        light = sum(vars(one).get("forward") is not None for one in model.modules() if layers._looks_like_norm(one))
        model(input_ids=ids, labels=ids).loss.backward()
        return light, [one.grad for one in model.parameters() if one.grad is not None]

    light, ours = learnt()
    monkeypatch.setattr("worker.train.adapter.lighten", lambda _: 0)
    none, plain = learnt()
    assert light > none == 0
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
