"""Our 4-bit packing gives the bits of bitsandbytes, whatever the weights."""

import pytest
import torch
from bitsandbytes.backends.default import ops
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.four_bit import PIECE, pack_4bit, pack_quickly


def theirs(weights, blocksize, quant_type):
    """What bitsandbytes does on a device that has no kernel of its own."""
    bounds, order = ops._get_4bit_quantize_bounds(quant_type, weights.device)
    flat = weights.reshape(-1).float()
    blocks = flat.reshape(-1, blocksize)
    absmax = blocks.abs().max(dim=-1)[0]
    scaled = torch.clamp(blocks * (1.0 / absmax.clamp(min=1e-38).view(-1, 1)), -1, 1).reshape(-1)
    levels = torch.bucketize(scaled, bounds, out_int32=True)
    levels = (levels if quant_type == "nf4" else order[levels]).to(torch.uint8)
    return ((levels[::2] << 4) | levels[1::2]).unsqueeze(1), absmax


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("values", [64, 4096, PIECE + 64, 2 * PIECE])
def test_packed_bits_and_scales_are_the_same(quant_type, dtype, values):
    weights = torch.randn(values, generator=torch.Generator().manual_seed(values)).to(dtype)
    weights[:64] = 0
    found, needed = pack_4bit(weights, 64, quant_type, torch.uint8), theirs(weights, 64, quant_type)
    assert torch.equal(found[0], needed[0]) and torch.equal(found[1], needed[1])


@given(st.lists(st.floats(-1024, 1024, width=32), min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_each_value_goes_to_the_nearest_level(values):
    weights = torch.tensor(values)
    packed, state = quantize_4bit(weights, blocksize=64, quant_type="nf4")
    back = dequantize_4bit(packed, state).reshape(-1)
    scale = torch.cat([part.abs().max().repeat(len(part)) for part in weights.split(64)])
    nearest = (state.code.view(1, -1) * scale.view(-1, 1) - weights.view(-1, 1)).abs().min(dim=1)[0]
    assert torch.all((back - weights).abs() <= nearest * 1.000001 + scale * 1e-6)


def test_bitsandbytes_uses_it_on_a_cpu(monkeypatch):
    def never(*_):
        raise AssertionError("the slow search was used")

    monkeypatch.setattr(torch, "bucketize", never)
    pack_quickly()
    pack_quickly()  # a process that loads a second base
    packed, state = quantize_4bit(torch.randn(32, 64), blocksize=64, quant_type="nf4", compress_statistics=True)
    assert packed.shape == (1024, 1) and dequantize_4bit(packed, state).shape == (32, 64)
