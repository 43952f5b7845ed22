"""Quicker ways to compute the same: folded and two-product LoRA, logits in chunks, rows without padding."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import Lfm2Config, Lfm2ForCausalLM, MistralConfig, MistralForCausalLM

from models.domain.training import Quantisation
from tests.tiny import tiny_base
from tests.training import training_job
from tests.worker.test_training_laws import ROWS, gradients, row, trained
from worker.device import device_facts
from worker.loading import load_base
from worker.methods.lora import fuse
from worker.methods.products import linear
from worker.stop import Stop
from worker.train.chunked import CHUNK_ENTRIES, nats_of
from worker.train.loss import TokenLoss, batch_of
from worker.train.run import run

FEW, MANY = 20, 400  # tokens: two products below 43 at width 64, folded above


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), hidden=64, layers=1)


def fused_layer(base, quantisation=Quantisation.NONE, dtype=torch.float32, **options):
    model = load_base(base, quantisation, device_facts("cpu"), dtype)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["up_proj"], **options))
    assert fuse(model) == 1
    return model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")


def both_ways(layer, tokens):
    """(result, grad x, grad A, grad B) through the layer as it is fused, and through PEFT's own."""
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.manual_seed(3)
    torch.nn.init.normal_(b, std=0.05)
    x = torch.randn(2, tokens // 2, 64, requires_grad=True)
    weights = torch.randn(2, tokens // 2, 128)
    found = []
    for forward in (layer.forward, lambda value: type(layer).forward(layer, value)):
        result = forward(x)
        found.append((result, *torch.autograd.grad((result * weights).sum(), (x, a, b))))
    return found


@pytest.mark.parametrize("quantisation", [Quantisation.NONE, Quantisation.NF4])
@pytest.mark.parametrize("tokens", [FEW, MANY])
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}])
def test_both_forms_have_the_values_and_gradients_of_pefts_own_layer(base, quantisation, tokens, options):
    for one, other in zip(*both_ways(fused_layer(base, quantisation, **options), tokens), strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


@pytest.mark.parametrize(
    ("tokens", "dtype", "form"),
    [(FEW, torch.float32, "_Product"), (MANY, torch.float32, "_Folded"), (MANY, torch.bfloat16, "_Product")],
)
def test_only_float32_with_many_tokens_is_folded(base, tokens, dtype, form):
    result = fused_layer(base, dtype=dtype)(torch.zeros(1, tokens, 64, dtype=dtype))
    assert form in str(result.grad_fn.next_functions)


@pytest.mark.parametrize("rows", [3, 16, 100])
def test_products_are_those_of_torch_whichever_library_makes_them(rows):
    x, weight, bias = torch.randn(rows, 48), torch.randn(80, 48), torch.randn(80)
    expected = torch.nn.functional.linear(x, weight, bias)
    assert torch.allclose(linear(x, weight, bias), expected, atol=1e-4)
    assert torch.allclose(linear(expected, weight.T), expected @ weight, atol=1e-3)


@pytest.mark.parametrize("is_head_trained", [False, True])
def test_logits_in_chunks_give_the_loss_and_gradients_of_all_at_once(is_head_trained):
    vocabulary = 2**18  # 64 tokens a chunk
    head = torch.nn.Linear(4, vocabulary, bias=True).requires_grad_(is_head_trained)
    tokens = 2 * CHUNK_ENTRIES // vocabulary + 5
    hidden = torch.randn(tokens, 4, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,))
    share = torch.rand(tokens)  # each token's loss may weigh differently
    wanted = (hidden, *(head.parameters() if is_head_trained else ()))
    chunked, whole = nats_of(hidden, head, targets), cross_entropy(head(hidden), targets, reduction="none")
    assert torch.allclose(chunked, whole, rtol=1e-5)
    pairs = (torch.autograd.grad((nats * share).sum(), wanted) for nats in (chunked, whole))
    for one, other in zip(*pairs, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_packed_rows_have_the_loss_and_the_gradient_of_padded_ones(base):
    model = trained(base).train()
    loss = TokenLoss(model, ROWS[0])
    assert loss.packs
    packed, total = gradients(model, [ROWS]), loss(batch_of(ROWS))
    model.get_base_model().set_attn_implementation("eager")  # which cannot pack
    assert not TokenLoss(model, ROWS[0]).packs
    padded = gradients(model, [ROWS])
    assert (packed - padded).norm() <= 1e-5 * padded.norm()
    assert torch.allclose(TokenLoss(model, ROWS[0])(batch_of(ROWS)), total, rtol=1e-5)


def test_each_row_of_a_pack_has_its_own_loss(base):
    loss = TokenLoss(trained(base).eval(), ROWS[0])
    alone = torch.stack([loss(batch_of([one])) for one in ROWS])
    assert torch.allclose(loss.by_row(batch_of(ROWS)), alone, rtol=1e-5)


def test_a_row_of_a_pack_learns_nothing_from_its_neighbours(base):
    model = trained(base).eval()
    loss, other = TokenLoss(model, ROWS[0]), row(*range(60, 75))
    beside = [float(loss.by_row(batch_of([first, ROWS[4]]))[1].detach()) for first in (ROWS[7], other)]
    assert beside[0] == pytest.approx(beside[1], rel=1e-5)


def test_rows_longer_than_a_sliding_window_are_padded():
    torch.manual_seed(0)
    sizes = {"vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = MistralConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, sliding_window=8, pad_token_id=0)
    model = MistralForCausalLM(config).eval()
    loss, long = TokenLoss(model, ROWS[0]), ROWS[7]
    logits = model(torch.tensor([long.ids])).logits[0, -4:-1]
    expected = cross_entropy(logits, torch.tensor(long.ids[-3:]), reduction="sum")
    assert loss.packs and torch.allclose(loss(batch_of([long, ROWS[0]])) - loss(batch_of([ROWS[0]])), expected)


def test_models_that_remember_beside_attention_are_not_packed():
    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "full_attention"], pad_token_id=0,
    )  # fmt: skip
    model = Lfm2ForCausalLM(config).eval()
    loss = TokenLoss(model, ROWS[0])
    assert not loss.packs and model.config._attn_implementation == "sdpa"
    assert torch.allclose(loss(batch_of(ROWS)), sum(loss(batch_of([one])) for one in ROWS), rtol=1e-4)


def test_activations_computed_twice_give_the_same_gradient_packed_or_not(base):
    model = trained(base).train()
    once = gradients(model, [ROWS])
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
    assert TokenLoss(model, ROWS[0]).packs
    twice = gradients(model, [ROWS])
    assert (once - twice).norm() <= 1e-5 * once.norm()


def test_a_run_that_computes_activations_twice_leaves_the_same_adapter(tmp_path):
    jobs = [training_job(tmp_path / str(twice), gradient_checkpointing=twice) for twice in (False, True)]
    assert [run(job, Stop()).status for job in jobs] == ["succeeded"] * 2
    once, twice = (load_file(job.out / "adapter_model.safetensors") for job in jobs)
    assert all(torch.allclose(once[name], twice[name], atol=1e-5) for name in once)
