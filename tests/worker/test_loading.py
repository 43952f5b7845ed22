"""Base folders come into memory as the numbers they hold; adapters only onto their own base."""

import pytest
import torch

from models.domain.base_model import Shapes
from models.domain.training import Quantisation
from tests.tiny import tiny_base
from worker.device import compute_dtype, device_facts, nf4_self_test
from worker.loading import load_base, load_dequantised

CPU = device_facts("cpu")
ROW = torch.tensor([[1, 40, 41, 42, 43, 44, 2]])  # (B, T)


def test_a_tiny_base_is_equal_bytes_for_equal_seeds(tmp_path):
    one, two, other = (tiny_base(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert all(path.read_bytes() == (two / path.name).read_bytes() for path in one.iterdir())
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


@pytest.mark.parametrize("tied", [True, False])
def test_the_shapes_file_names_the_modules_transformers_builds(tmp_path, tied):
    base = tiny_base(tmp_path / "base", tied=tied)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    model = load_base(base, Quantisation.NONE, CPU, torch.float32)
    linear = {name: tuple(m.weight.shape) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert {module.name: module.shape for module in shapes.modules if module.kind == "linear"} == linear
    assert shapes.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [kind for kind in Quantisation if kind is not Quantisation.NONE])
def test_dequantised_weights_are_the_live_quantised_weights(tmp_path, dtype, kind):
    base = tiny_base(tmp_path / "base", hidden=64)
    live = load_base(base, kind, CPU, dtype)
    plain = load_dequantised(base, CPU, dtype, kind)
    identity = torch.eye(64, dtype=dtype)
    for name in ("q_proj", "k_proj", "o_proj"):
        columns = live.get_submodule(f"model.layers.1.self_attn.{name}")(identity)  # (in, out)
        assert torch.equal(columns.T, plain.get_submodule(f"model.layers.1.self_attn.{name}").weight)
    assert torch.equal(live(ROW).logits, plain(ROW).logits)


def test_a_pass_in_eval_mode_leaves_nf4_weights_as_they_were(tmp_path):
    model = load_base(tiny_base(tmp_path / "base", hidden=64), Quantisation.NF4, CPU, torch.float32)
    first = model(ROW).logits
    layer = model.get_submodule("model.layers.0.self_attn.q_proj")
    assert layer.weight.quant_state.nested
    model.train()
    model.get_input_embeddings().weight.requires_grad_(True)
    assert torch.allclose(model(ROW).logits, first, atol=1e-5)


def test_a_quantised_base_is_another_model_and_the_more_so_the_fewer_its_bits(tmp_path):
    base = tiny_base(tmp_path / "base", hidden=64)
    plain, int8, nf4, nf4_plain = (load_base(base, kind, CPU, torch.float32)(ROW).logits for kind in Quantisation)
    assert 0 < (plain - int8).abs().max() < (plain - nf4).abs().max()
    assert 0 < (nf4 - nf4_plain).abs().max() < (plain - nf4).abs().max()


def test_four_bit_products_work_here_or_say_why():
    assert nf4_self_test() is None


def test_the_dtype_comes_from_the_device_unless_ordered():
    assert compute_dtype("fp32", CPU) == torch.float32
    assert compute_dtype("auto", CPU) == (torch.bfloat16 if CPU.has_native_bf16 else torch.float32)
