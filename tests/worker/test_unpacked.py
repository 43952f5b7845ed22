"""A quantised base that computes unpacked for a while: the same numbers, and afterwards the same layers."""

import pytest
import torch

from models.domain.base_model import Shapes
from models.domain.training import MethodChoice, Quantisation
from tests.tiny import tiny_base
from worker.device import bytes_below_peak, device_facts
from worker.loading import load_base
from worker.quantised import Quantised
from worker.train.adapter import fresh_adapter
from worker.unpacked import unpacked

PLENTY = 2**40
IDS = torch.randint(0, 60, (2, 21), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def adapted(base, quantisation, method="lora", **options):
    """With an adapter that has learnt something: its B, or what stands for it, is not zero."""
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    loaded = load_base(base, quantisation, device_facts("cpu"), torch.float32)
    model = fresh_adapter(loaded, MethodChoice(name=method, options=options), shapes, seed=1)
    draw = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=draw)
    return model.eval()


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("quantisation", [Quantisation.NF4, Quantisation.NF4_PLAIN, Quantisation.INT8])
@pytest.mark.parametrize(
    ("method", "options"),
    [("lora", {}), ("lora", {"targets": "q+v"}), ("lora", {"dropout": 0.5}), ("dora", {}), ("ia3", {})],
)
def test_every_bit_of_an_evaluation_is_the_same(base, quantisation, method, options):
    model = adapted(base, quantisation, method, **options)
    packed = logits(model)
    with unpacked(model, torch.float32, PLENTY) as is_unpacked:
        assert is_unpacked
        assert torch.equal(logits(model), packed)
    assert torch.equal(logits(model), packed)


def test_one_token_by_itself_is_the_same_to_rounding(base):
    """The packed kernel for single tokens sums in another order."""
    model = adapted(base, Quantisation.NF4)
    packed = logits(model, IDS[:1, :1])
    with unpacked(model, torch.float32, PLENTY):
        torch.testing.assert_close(logits(model, IDS[:1, :1]), packed)


def test_the_layers_are_afterwards_what_they_were(base):
    model = adapted(base, Quantisation.INT8, targets="q+v")
    layers = [module for module in model.modules() if isinstance(module, Quantised)]
    before = [dict(layer.__dict__) for layer in layers]
    with pytest.raises(ZeroDivisionError), unpacked(model, torch.float32, PLENTY):
        raise ZeroDivisionError
    assert [dict(layer.__dict__) for layer in layers] == before


def test_it_stays_packed_where_the_weights_would_not_fit(base):
    model = adapted(base, Quantisation.NF4)
    layers = [module for module in model.modules() if isinstance(module, Quantised)]
    needed = 4 * sum(layer.in_features * layer.out_features for layer in layers)
    with unpacked(model, torch.float32, needed - 1) as is_unpacked:
        assert not is_unpacked
    with unpacked(model, torch.float32, needed) as is_unpacked:
        assert is_unpacked


def test_there_is_room_below_the_peak_once_something_large_is_gone():
    taken = bytes_below_peak("cpu")
    large = torch.ones(64 * 2**18)  # 64 MiB
    del large
    assert bytes_below_peak("cpu") >= min(taken, 32 * 2**20)
    assert bytes_below_peak("cuda:0") == 0
