"""Laws that a training must obey whatever the model: fp32, a tiny Llama, differences near rounding."""

from dataclasses import replace

import pytest
import torch
from peft.tuners.lora.layer import LoraLayer
from transformers import GraniteConfig, GraniteForCausalLM

from models.catalog.methods import METHODS
from models.domain.base_model import Shapes
from models.domain.training import MethodChoice, Quantisation
from tests.tiny import STOP_ID, tiny_base
from worker.data.render import Rendered, Span
from worker.device import device_facts
from worker.loading import load_base
from worker.train.adapter import fresh_adapter, weights_of
from worker.train.loss import TokenLoss, batch_of, evaluate
from worker.train.plan import MicroBatch, plan_batches

CPU = device_facts("cpu")
DEVICE = torch.device("cpu")


def row(*ids: int, trained: int = 3) -> Rendered:
    """A row whose last `trained` tokens carry loss."""
    return Rendered(ids=list(ids), spans=(Span(turn=1, start=len(ids) - trained, end=len(ids)),), text="")


ROWS = [
    row(*(20 + (7 * number + place * (number + 3)) % 200 for place in range(6 + 2 * number)), STOP_ID)
    for number in range(8)
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def adapted(base, quantisation=Quantisation.NONE, dtype=torch.float32, **options):
    model = load_base(base, quantisation, CPU, dtype)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    return fresh_adapter(model, MethodChoice(options={"rank": 4, "alpha": 8, **options}), shapes, seed=1)


def trained(base, **options):
    """An adapter that has moved, so that both of its matrices matter."""
    model = adapted(base, **options)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def gradients(model, passes) -> torch.Tensor:
    """One optimiser step's gradient over forward passes of these rows, as one vector."""
    loss = TokenLoss(model, ROWS[0])
    model.zero_grad()
    tokens = sum(one.trained_tokens for rows in passes for one in rows)
    for rows in passes:
        (loss(batch_of(rows)) / tokens).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("quantisation", list(Quantisation))
def test_before_the_first_step_the_adapted_model_is_the_base(base, quantisation):
    ids = torch.tensor([ROWS[5].ids])  # (B, T)
    expected = load_base(base, quantisation, CPU, torch.float32)(ids).logits
    assert torch.equal(adapted(base, quantisation)(ids).logits, expected)


def test_all_linear_layers_but_the_head_are_adapted_and_nothing_else_trains(base):
    model = adapted(base)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(names) == 2 * 2 * 7 and not any("lm_head" in name or "embed" in name for name in names)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    options = METHODS["lora"].options(rank=4, alpha=8)
    assert METHODS["lora"].cost(shapes, options) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("rows_per_pass", [1, 2, 3, 4])
def test_the_cut_into_forward_passes_does_not_change_the_gradient(base, rows_per_pass):
    model = trained(base)
    whole = gradients(model, [ROWS])
    cut = gradients(model, [ROWS[start : start + rows_per_pass] for start in range(0, 8, rows_per_pass)])
    assert (cut - whole).norm() <= 1e-5 * whole.norm()


def test_a_row_in_a_batch_has_the_loss_it_has_alone(base):
    model = trained(base).eval()
    loss = TokenLoss(model, ROWS[0])
    together = loss(batch_of(ROWS))
    alone = sum(loss(batch_of([one])) for one in ROWS)
    assert torch.allclose(together, alone, rtol=1e-5)


def test_masked_tokens_add_no_loss(base):
    model = trained(base).eval()
    loss, one = TokenLoss(model, ROWS[0]), ROWS[6]
    by_hand = model(torch.tensor([one.ids])).logits[0].log_softmax(-1)  # (T, V)
    expected = -sum(by_hand[place - 1, one.ids[place]] for place in range(len(one.ids) - 3, len(one.ids)))
    assert torch.allclose(loss(batch_of([one])), expected, rtol=1e-5)
    everything = replace(one, spans=(Span(turn=1, start=1, end=len(one.ids)),))
    assert loss(batch_of([everything])) > 1.5 * expected


def test_the_last_stop_token_is_in_the_loss_although_it_is_the_padding_token(base):
    batch = batch_of([ROWS[0], ROWS[7]])
    assert batch.trained[0].nonzero().flatten().tolist() == [4, 5, 6]
    assert batch.ids[0, 6] == STOP_ID and batch.attention[0].tolist() == [1] * 7 + [0] * 14


def test_a_document_trains_every_token_after_its_first():
    one = row(*range(20, 28), trained=7)
    assert batch_of([one]).trained[0].tolist() == [False] + [True] * 7


def test_evaluation_weighs_tokens_not_rows(base):
    model = trained(base)
    loss = TokenLoss(model, ROWS[0])
    long = replace(ROWS[7], spans=(Span(turn=1, start=1, end=len(ROWS[7].ids)),))
    both = evaluate(model, loss, [[ROWS[0]], [long]], DEVICE)
    with torch.no_grad():
        nats = float(loss(batch_of([ROWS[0]])) + loss(batch_of([long])))
    assert both.trained_tokens == 3 + len(long.ids) - 1
    assert both.loss_per_token == pytest.approx(nats / both.trained_tokens, rel=1e-5)
    assert model.training


def test_models_that_scale_their_logits_keep_their_own_head(tmp_path):
    """Granite divides its logits; logits made from the head alone would be eight times too large."""
    config = GraniteConfig(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, logits_scaling=8.0, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GraniteForCausalLM(config).eval()
    one = ROWS[3]
    expected = model(torch.tensor([one.ids])).logits[0].log_softmax(-1)[len(one.ids) - 4 : -1]
    expected = -expected.gather(1, torch.tensor(one.ids[-3:])[:, None]).sum()
    assert torch.allclose(TokenLoss(model, one)(batch_of([one])), expected, rtol=1e-5)


def test_the_adapters_share_of_a_bf16_product_survives_its_first_step(base):
    """Beside the product it arrives whole (within 2 % on average); folded into a bf16 sum most of it is lost."""
    half, full = adapted(base, dtype=torch.bfloat16), adapted(base)
    for model in (half, full):
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 2e-4)  # Adam's first step moves every entry by the rate
    name = "base_model.model.model.layers.0.mlp.up_proj"
    rounded, exact = half.get_submodule(name), full.get_submodule(name)
    x = torch.randn(20_000, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = exact(x.float()) - exact.base_layer(x.float())  # (N, out)

    def share(found: torch.Tensor) -> float:
        return float((found.float() * expected).sum() / (expected * expected).sum())

    assert share(rounded(x) - rounded.base_layer(x)) == pytest.approx(1.0, abs=0.02)
    folded = (rounded.base_layer.weight + exact.get_delta_weight("default")).bfloat16()
    assert share(x @ folded.T - rounded.base_layer(x)) < 0.9


@pytest.mark.parametrize("quantisation", [Quantisation.NONE, Quantisation.NF4])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_fused_product_has_the_values_and_gradients_of_pefts_own(base, quantisation, dropout):
    """Also with dropout, which takes PEFT's way: given one random state both drop the same entries."""
    model = trained(base, quantisation=quantisation, dropout=dropout).train()
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    assert all("forward" in vars(layer) for layer in layers)
    torch.manual_seed(5)
    fused, loss = gradients(model, [ROWS]), float(TokenLoss(model.eval(), ROWS[0])(batch_of(ROWS)))
    for layer in layers:
        del layer.forward
    torch.manual_seed(5)
    plain = gradients(model.train(), [ROWS])
    assert (fused - plain).norm() <= 1e-5 * plain.norm()
    assert float(TokenLoss(model.eval(), ROWS[0])(batch_of(ROWS))) == pytest.approx(loss, rel=1e-5)


def test_seeds_draw_different_adapters_and_equal_seeds_equal_ones(base):
    one, two = weights_of(adapted(base)), weights_of(adapted(base))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("rows", "batch_rows", "epochs"), [(1, 4, 3), (11, 4, 3), (8, 8, 1), (5, 2, 4)])
def test_a_plan_trains_every_row_once_an_epoch(rows, batch_rows, epochs):
    plan = plan_batches(
        list(range(5, 5 + rows)), epochs=epochs, batch_rows=batch_rows, micro=MicroBatch(rows=3, tokens=30), seed=7
    )
    for epoch in range(epochs):
        steps = plan.steps[epoch * plan.steps_per_epoch : (epoch + 1) * plan.steps_per_epoch]
        assert sorted(row for step in steps for one in step for row in one) == list(range(rows))


def test_a_plan_keeps_within_rows_and_padded_tokens():
    lengths = [3, 50, 7, 8, 21, 9, 10, 2]
    plan = plan_batches(lengths, epochs=2, batch_rows=8, micro=MicroBatch(rows=3, tokens=32), seed=7)
    for one in (one for step in plan.steps for one in step):
        assert len(one) <= 3
        assert len(one) == 1 or len(one) * max(lengths[row] for row in one) <= 32


def test_epochs_and_seeds_order_the_rows_differently():
    plans = [
        plan_batches([5] * 32, epochs=2, batch_rows=4, micro=MicroBatch(rows=4, tokens=99), seed=s) for s in (1, 2)
    ]
    assert plans[0].steps[:8] != plans[0].steps[8:]
    assert plans[0].steps[:8] != plans[1].steps[:8]
