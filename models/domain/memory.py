"""What a training takes of memory at its height, from shapes and counts alone. Knows no device and reads no file.

Every tensor that waits for the backward pass is counted as the training makes it (worker/train/packing.py,
worker/train/chunked.py, worker/methods/lora.py): no padding, no (tokens x vocabulary), no branch of its own for LoRA.
What cannot be counted is a constant with its source. `make bench-memory` compares the sum with real processes.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from models.domain.base_model import ModuleShape, Shapes
from models.domain.training import Optimiser, Quantisation, ScheduleSpec

TOKENS_PER_PASS = {"cpu": 4096, "cuda": 16384}  # of one forward pass, where nobody says how many rows it takes

WEIGHT_BYTES = {
    Quantisation.NF4: 0.5 + 1 / 64 + 4 / (64 * 256),  # 4 bits, one 8-bit scale per 64 weights, a float32 per 256 scales
    Quantisation.NF4_PLAIN: 0.5 + 4 / 64,  # one float32 scale per 64 weights
    Quantisation.INT8: 1.0,  # and a float32 a row, which is nothing beside it
}
MOMENT_BYTES = {  # of both moments, for each trained parameter
    Optimiser.ADAMW: 8,
    Optimiser.ADAMW_8BIT: 2,  # arXiv:2110.02861: a byte each; a scale per 256 is nothing beside it
    Optimiser.PAGED_ADAMW_8BIT: 2,  # may be lent from the host, and counts as if it were not
}
# Python with torch, transformers and PEFT loaded, and what their kernels keep; CUDA's context. The CPU's is measured
# by `make bench-memory`, the GPU's has not been.
PROCESS_BYTES = {"cpu": 620 * 10**6, "cuda": 600 * 10**6}
CHUNK_ENTRIES = 2**24  # logits of one chunk of tokens: as worker/train/chunked.py cuts them
LOGIT_COPIES = 5.5  # float32 logits of a chunk and of the one before, and what logsumexp holds beside them: measured
WORKING_ROWS = 3.0  # gradients of the widest layer that exist at once when the backward pass begins
WORKING_WEIGHTS = 2  # of the largest layer: unpacked or folded for its product, and as the product packs it
# On a CPU the C library keeps what is freed in tensors under 32 MiB (glibc's largest DEFAULT_MMAP_THRESHOLD), with
# holes that the next one does not fill: so many bytes for each in use, measured by `make bench-memory`.
LARGE_BYTES, HEAP_SHARE = 2**25, 1.22
LOOKED_AT, LOOKED_AT_COPIES, LOOKED_AT_GRADIENTS = 64, 6, 5  # logits and their gradients; gradients compared
FILE_BYTES = 2  # of a weight in a base's files: 16 bits; they are mapped while the base is loaded


FITS_UP_TO = 0.85  # of what is free; between this and all of it the estimate's own error decides


class Verdict(StrEnum):
    FITS = "fits"
    TIGHT = "tight"
    TOO_MUCH = "too_much"
    UNKNOWN = "unknown"


def verdict_of(total_bytes: float, free_bytes: float) -> Verdict:
    """Whether an estimate fits into what is free."""
    share = total_bytes / max(1.0, free_bytes)
    return Verdict.FITS if share <= FITS_UP_TO else Verdict.TIGHT if share <= 1 else Verdict.TOO_MUCH


class Way(StrEnum):
    """How adapted layers compute, which says what they keep for the backward pass."""

    FUSED = "fused"  # LoRA in one function: its input, which the layers of a block share, and rank numbers
    BRANCHED = "branched"  # PEFT's own LoRA with dropout: each layer its mask and what is left of its input
    DORA = "dora"  # fused, and both products, whose sum is scaled
    SCALED = "scaled"  # (IA)3, norms: each trained factor the number that it multiplies
    IN_FRONT = "in_front"  # virtual tokens: nothing within the layers


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """What is trained: parameters, and the rank of each adapted layer by its full name, where layers have one."""

    trainable: int
    ranks: Mapping[str, int]
    way: Way = Way.FUSED


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the height of a step, by what takes them. `other_bytes`: the most that is taken at other times."""

    base_bytes: int
    trained_bytes: int
    activation_bytes: int
    logit_bytes: int
    process_bytes: int
    other_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        parts = (self.base_bytes, self.trained_bytes, self.activation_bytes, self.logit_bytes)
        return self.process_bytes + max(sum(parts), self.other_bytes)


def tokens_per_pass(max_length: int, schedule: ScheduleSpec, device: str) -> int:
    """The largest forward pass while no row is counted: whole rows of `max_length`, as the training plans them."""
    if schedule.micro_batch_rows is not None:
        return schedule.micro_batch_rows * max_length
    if schedule.batch_tokens is not None:  # a step ends at the row that reaches its tokens
        return max(max_length, min(schedule.batch_tokens + max_length, TOKENS_PER_PASS[device]))
    return min(schedule.batch_rows * max_length, max(TOKENS_PER_PASS[device], max_length))


def largest_pass(lengths: Sequence[tuple[int, int]], schedule: ScheduleSpec, device: str) -> int:
    """Tokens of the largest forward pass that rows of these lengths can make: (tokens, rows), in any order.

    Rows lie end to end, without padding; a pass is cut by its rows, or where rows x its longest pass the budget. The
    longest rows are taken to meet in one step, as over some epochs they may.
    """
    falling = sorted(lengths, reverse=True)
    found = 0
    for place, (longest, _) in enumerate(falling):
        room = max(1, TOKENS_PER_PASS[device] // longest) if schedule.micro_batch_rows is None else 2**31
        most = schedule.micro_batch_rows or (schedule.batch_rows if schedule.batch_tokens is None else 2**31)
        found = max(found, _first_rows(falling[place:], min(room, most)))
    if schedule.batch_tokens is not None and falling:
        found = min(found, max(falling[0][0], schedule.batch_tokens + falling[0][0]))
    return found


def _first_rows(falling: Iterable[tuple[int, int]], rows: int) -> int:
    tokens = 0
    for length, count in falling:
        taken = min(count, rows)
        tokens, rows = tokens + taken * length, rows - taken
        if not rows:
            break
    return tokens


def memory(
    shapes: Shapes,
    adapters: Adapters,
    *,
    quantisation: Quantisation,
    tokens: int,
    trained_share: float,
    compute_bytes: int,
    device: str,
    optimiser: Optimiser = Optimiser.ADAMW,
    is_checkpointing: bool = False,
) -> MemoryEstimate:
    """For a largest forward pass of `tokens` tokens without padding, of which `trained_share` carry loss.

    base: every weight in the compute dtype (`compute_bytes` each); where quantised, linear layers but the head by
        WEIGHT_BYTES; and WORKING_WEIGHTS of the largest layer;
    trained: float32 weight and gradient of every trained parameter, the moments of `optimiser`, and on a CPU the
        weights from before the first step (worker/train/moved.py);
    activations: tokens x what `kept_widths` says, and WORKING_ROWS of the widest layer; with `is_checkpointing` the
        input of every layer (arXiv:1604.06174) and all of one. Attention keeps no (tokens, tokens);
    logits: LOGIT_COPIES of one chunk, and the gradient at the trained tokens;
    other: the base beside its mapped files while it is loaded (on a CPU, where both count), or the look at the first
        step with all logits of LOOKED_AT tokens (worker/train/first_step.py);
    process: PROCESS_BYTES. `device` is "cpu" or "cuda".
    """
    linear = [module for module in shapes.modules if module.kind == "linear" and not is_head(module)]
    widest = max((max(one.shape) for one in linear), default=0)
    is_light = device == "cpu" and compute_bytes == 4
    kept = {width: float(count) for width, count in kept_widths(shapes, adapters, is_light=is_light).items()}
    if is_checkpointing:
        kept = {width: count / max(1, shapes.layers) for width, count in kept.items()}
        kept[shapes.hidden_size] = kept.get(shapes.hidden_size, 0) + shapes.layers
    kept[widest] = kept.get(widest, 0) + WORKING_ROWS
    logits = min(round(tokens * trained_share) * shapes.vocabulary, CHUNK_ENTRIES)
    trained_bytes = adapters.trainable * (8 + MOMENT_BYTES[optimiser] + (4 if device == "cpu" else 0))
    looking = (
        trained_bytes
        + LOOKED_AT * shapes.vocabulary * 4 * LOOKED_AT_COPIES
        + adapters.trainable * 4 * LOOKED_AT_GRADIENTS
    )
    weights, working = _base_bytes(shapes, linear, quantisation, compute_bytes)
    loading = weights + shapes.parameters * FILE_BYTES if device == "cpu" else 0
    return MemoryEstimate(
        base_bytes=round(weights + working),
        trained_bytes=trained_bytes,
        activation_bytes=round(
            sum(count * _held_bytes(tokens * width * compute_bytes, device) for width, count in kept.items())
        ),
        logit_bytes=round(logits * 4 * LOGIT_COPIES + tokens * trained_share * shapes.hidden_size * compute_bytes),
        process_bytes=PROCESS_BYTES[device],
        other_bytes=round(max(loading, weights + looking)),
    )


def kept_widths(shapes: Shapes, adapters: Adapters, *, is_light: bool = False) -> Counter[int]:
    """The tensors that wait for the backward pass, in all layers together: how many there are of each width.

    A block (attention, MLP) is the linear layers below one name: some read its input, one writes into the residual
    stream. Kept are all their outputs (rotated queries and keys, values, gate, up, the two sums of the stream), what
    the writing one is given, once more as the factor it came of, and what adapted layers are given. `is_light`: gated
    units compute that factor again (worker/methods/layers.py).
    """
    kept: Counter[int] = Counter()
    for layers in _blocks(shapes).values():
        writing = max(layers, key=lambda one: (one.shape[0] == shapes.hidden_size, one.shape[1]))
        reading = [one for one in layers if one is not writing]
        kept.update(one.shape[0] for one in layers)
        is_computed_again = is_light and any(one.name.endswith(".gate_proj") for one in reading)
        kept.update([writing.shape[1]] if reading and not is_computed_again else [])
        for group in (reading, [writing]):
            kept.update(_given(group, adapters))
        adapted = [one for one in layers if one.name in adapters.ranks]
        kept.update(adapters.ranks[one.name] for one in adapted)
        if adapters.way is Way.DORA:
            kept.update(2 * [one.shape[0] for one in adapted])
    kept.update(_normed(shapes))
    kept.update(_of_experts(shapes))
    if adapters.way is Way.SCALED:
        kept[shapes.hidden_size] += adapters.trainable // shapes.hidden_size
    return kept


def _blocks(shapes: Shapes) -> dict[str, list[ModuleShape]]:
    found: dict[str, list[ModuleShape]] = {}
    for one in shapes.modules:
        if one.kind == "linear" and len(one.shape) == 2 and not is_head(one) and not _is_expert(one):
            found.setdefault(one.name.rpartition(".")[0], []).append(one)
    return found


def _given(layers: Sequence[ModuleShape], adapters: Adapters) -> list[int]:
    """Of layers with one input: it is shared, unless each drops numbers of its own."""
    adapted = [one.shape[1] for one in layers if one.name in adapters.ranks]
    return 2 * adapted if adapters.way is Way.BRANCHED else adapted[:1]


def _normed(shapes: Shapes) -> list[int]:
    """Queries and keys once more where they are normed (Qwen3)."""
    normed = {
        module.name.replace("_norm", "_proj") for module in shapes.modules
        if module.kind == "norm" and module.name.endswith(("q_norm", "k_norm"))
    }  # fmt: skip
    return [module.shape[0] for module in shapes.modules if module.name in normed]


def _of_experts(shapes: Shapes) -> list[int]:
    """For each expert that a token is sent to: gate, up and their product, and what comes of it."""
    blocks: dict[str, list[ModuleShape]] = {}
    for one in shapes.modules:
        if _is_expert(one) and one.kind == "linear":
            blocks.setdefault(one.name.partition(".experts.")[0], []).append(one)
    found = []
    for layers in blocks.values():
        count = len({one.name.partition(".experts.")[2].partition(".")[0] for one in layers})
        inner = max((side for one in layers for side in one.shape if side != shapes.hidden_size), default=0)
        found += experts_per_token(count) * [inner, inner, inner, inner, shapes.hidden_size, shapes.hidden_size]
    return found


def experts_per_token(experts: int) -> int:
    """Shapes do not say it. Mixtral sends a token to 2 of 8, gpt-oss to 4 of 32, OLMoE and Qwen3 to 8 of many."""
    return 2 if experts <= 16 else 4 if experts <= 32 else 8


def _held_bytes(size: int, device: str) -> float:
    """What a tensor of so many bytes takes among others that come and go."""
    if device != "cpu":
        return size
    return size if size >= LARGE_BYTES else size * HEAP_SHARE


def _base_bytes(
    shapes: Shapes, linear: list[ModuleShape], quantisation: Quantisation, compute_bytes: int
) -> tuple[float, float]:
    # The experts of a mixture are no linear layers once loaded: they stay as they are.
    inner = [module for module in linear if not _is_expert(module)]
    packed = sum(math.prod(module.shape) for module in inner) if quantisation in WEIGHT_BYTES else 0
    largest = max((math.prod(module.shape) for module in inner), default=0)
    weights = (shapes.parameters - packed) * compute_bytes + packed * WEIGHT_BYTES.get(quantisation, 0)
    return weights, largest * compute_bytes * WORKING_WEIGHTS


def _is_expert(module: ModuleShape) -> bool:
    return ".experts." in module.name


def is_head(module: ModuleShape) -> bool:
    return module.tied_to is not None or module.name.rpartition(".")[2] in ("lm_head", "embed_out")
