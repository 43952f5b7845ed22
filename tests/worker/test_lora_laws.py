"""Why a small adapter is enough, as experiments that anyone can read: products, paths, plain modules, digits.

The theory is that of LoRA (arXiv:2106.09685): a change of rank r is two thin matrices, beside a weight that stays.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from sklearn.datasets import load_digits
from torch import nn

from models.domain.training import Quantisation
from tests.tiny import tiny_base
from worker.device import device_facts
from worker.loading import load_base

LEFT_OUT = 8


# -- a matrix of rank r is the product of two thin ones -------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_the_svd_of_a_matrix_of_rank_r_gives_two_thin_factors_with_the_same_product(rank):
    draw = torch.Generator().manual_seed(rank)
    change = torch.randn(96, rank, generator=draw) @ torch.randn(rank, 64, generator=draw)  # (out, in)
    left, values, right = torch.linalg.svd(change)
    b, a = left[:, :rank] * values[:rank], right[:rank]  # (out, r), (r, in)
    assert torch.allclose(b @ a, change, atol=1e-4)
    assert a.numel() + b.numel() == rank * (96 + 64)
    too_thin = (b[:, : rank - 1] @ a[: rank - 1]) - change
    assert too_thin.norm() == pytest.approx(float(values[rank - 1]), rel=1e-3)  # what one rank less must lose


# -- the path beside a projection -----------------------------------------------------------------------------------


def test_w_plus_s_times_ba_on_a_q_projection_is_what_peft_computes(tmp_path):
    model = load_base(tiny_base(tmp_path), Quantisation.NONE, device_facts("cpu"), torch.float32)
    weight = model.get_submodule("model.layers.0.self_attn.q_proj").weight.detach().clone()
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj"]))
    layer = adapted.base_model.model.model.layers[0].self_attn.q_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(b, std=0.1)
    x = torch.randn(5, weight.shape[1])
    by_hand = x @ (weight + 12 / 4 * (b @ a)).T
    assert torch.allclose(layer(x), by_hand, atol=1e-4)
    assert not torch.allclose(layer(x), x @ weight.T, atol=1e-2)
    assert torch.equal(layer.base_layer.weight, weight)


# -- anything with a linear layer -----------------------------------------------------------------------------------


def test_an_adapter_goes_onto_plain_modules_by_their_names():
    plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    x, before = torch.randn(3, 8), [one.detach().clone() for one in plain.parameters()]
    expected = plain(x)
    adapted = get_peft_model(plain, LoraConfig(r=2, target_modules=["0"]))
    trained = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert len(trained) == 2 and all(".0.lora_" in name for name in trained)
    assert torch.equal(adapted(x), expected)  # B begins at zero
    adapted(x).sum().backward()
    assert all(one.grad is None for one in adapted.parameters() if not one.requires_grad)
    kept = [one for name, one in adapted.named_parameters() if "lora_" not in name]
    assert all(torch.equal(one, other) for one, other in zip(kept, before, strict=True))


# -- a digit never seen, learnt beside the others -------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits of 8 x 8 pixels (UCI, with scikit-learn), half of them to learn and half to measure with."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    return (x[::2], y[::2]), (x[1::2], y[1::2])


def learn(model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    trained = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()


@torch.no_grad()
def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return float((model(x).argmax(-1) == y).float().mean())


def test_an_adapter_trained_on_one_new_digit_knows_it_forgets_others_and_can_be_switched_off(digits):
    (x, y), (other_x, other_y) = digits
    known, new = other_y != LEFT_OUT, other_y == LEFT_OUT
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    learn(network, x[y != LEFT_OUT], y[y != LEFT_OUT], steps=150)
    base_known = accuracy(network, other_x[known], other_y[known])
    assert base_known > 0.9 and accuracy(network, other_x[new], other_y[new]) == 0.0

    answers = network(other_x).detach().clone()
    adapted = get_peft_model(network, LoraConfig(r=4, lora_alpha=8, target_modules=["0", "2"]))
    learn(adapted, x[y == LEFT_OUT], y[y == LEFT_OUT], steps=40)
    assert accuracy(adapted, other_x[new], other_y[new]) > 0.9  # it has learnt the digit ...
    assert accuracy(adapted, other_x[known], other_y[known]) < base_known - 0.2  # ... and forgotten others
    with adapted.disable_adapter():
        assert torch.equal(adapted(other_x), answers)  # the base never moved


def test_a_few_rows_of_what_is_known_keep_it_from_being_forgotten(digits):
    (x, y), (other_x, other_y) = digits
    known, new = other_y != LEFT_OUT, other_y == LEFT_OUT
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    learn(network, x[y != LEFT_OUT], y[y != LEFT_OUT], steps=150)
    adapted = get_peft_model(network, LoraConfig(r=4, lora_alpha=8, target_modules=["0", "2"]))
    mixed = (y == LEFT_OUT) | (torch.arange(len(y)) % 5 == 0)
    learn(adapted, x[mixed], y[mixed], steps=80)
    assert accuracy(adapted, other_x[new], other_y[new]) > 0.8
    assert accuracy(adapted, other_x[known], other_y[known]) > 0.85
