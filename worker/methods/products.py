"""Matrix products of a training, by the quicker of torch's two libraries. Knows tensors only.

In float32 on a CPU torch multiplies with MKL; oneDNN, which torch brings as well, was 10 to 30 % quicker at the
shapes of a small model on an AMD Zen 4, and most where the weight is read across its rows (docs/performance.md).
"""

import torch

# What torch's own compiler calls; no public name reaches it. Where a build has none, everything goes the usual way.
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
FEWEST_ROWS = 16  # fewer are bound by reading the weight, which is no gain here


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x W' + bias, to rounding what torch.nn.functional.linear gives; without a gradient of its own.

    Shapes: x (N, in), weight (out, in), result (N, out). `weight.T` may be given, and is not copied.
    """
    if (
        _ONEDNN is None
        or x.device.type != "cpu"
        or not x.dtype == weight.dtype == torch.float32
        or len(x) < FEWEST_ROWS
        or torch.get_float32_matmul_precision() != "highest"
    ):
        return torch.nn.functional.linear(x, weight, bias)
    return _ONEDNN(x.contiguous(), weight, bias, "none", [], "")
