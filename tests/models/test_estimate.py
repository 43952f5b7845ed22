"""Figures that the form shows before anything runs."""

import pytest

from models.domain.base_model import ModuleShape, Shapes
from models.domain.estimate import (
    held_back_rows,
    learning_rate,
    memory,
    planned_steps,
    rate_share,
    schedule_remarks,
    seconds,
    tokens_per_pass,
)
from models.domain.training import Quantisation, ScheduleSpec


def llama(*, hidden: int, layers: int, keys: int, inner: int, vocabulary: int) -> Shapes:
    """The linear layers and tied embeddings of a Llama, as an import counts them."""
    each = {
        "q_proj": (hidden, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden), "o_proj": (hidden, hidden),
        "gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner),
    }  # fmt: skip
    linear = [
        ModuleShape(name=f"layers.{layer}.{name}", kind="linear", shape=shape, dtype="bf16")
        for layer in range(layers) for name, shape in each.items()
    ]  # fmt: skip
    embedding = ModuleShape(name="embed_tokens", kind="embedding", shape=(vocabulary, hidden), dtype="bf16")
    norms = (2 * layers + 1) * hidden
    parameters = vocabulary * hidden + norms + sum(module.shape[0] * module.shape[1] for module in linear)
    return Shapes(
        architecture="LlamaForCausalLM", hidden_size=hidden, layers=layers, vocabulary=vocabulary, context_length=2048,
        parameters=parameters, modules=(embedding, *linear),
    )  # fmt: skip


def lora_parameters(shapes: Shapes, rank: int) -> int:
    return sum(rank * sum(module.shape) for module in shapes.modules if module.kind == "linear")


def test_the_learning_rate_follows_the_width_of_the_model():
    rates = [learning_rate(ScheduleSpec(), hidden) for hidden in (576, 2000, 4096)]
    assert rates == pytest.approx([1.32e-3, 5e-4, 2.86e-4], rel=0.01)


def test_a_given_rate_wins_and_the_multiplier_applies_to_both():
    assert learning_rate(ScheduleSpec(learning_rate=1e-4, learning_rate_multiplier=2), 576) == pytest.approx(2e-4)
    assert learning_rate(ScheduleSpec(learning_rate_multiplier=2), 2000) == pytest.approx(1e-3)


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
def test_no_step_is_taken_with_a_rate_of_zero(scheduler):
    schedule = ScheduleSpec(scheduler=scheduler)
    shares = [rate_share(step, 40, schedule) for step in range(1, 41)]
    assert min(shares) > 0 and max(shares) == 1.0
    assert shares.index(1.0) == 2  # 5 % of 40 steps warm up
    assert shares[2:] == sorted(shares[2:], reverse=True)


def test_one_step_in_all_is_still_a_step():
    assert rate_share(1, 1, ScheduleSpec()) > 0


def test_the_last_batch_of_an_epoch_may_be_smaller():
    assert planned_steps(17, ScheduleSpec(epochs=3, batch_rows=8)) == 9


def test_short_and_long_schedules_are_remarked():
    assert "only 6 optimiser steps" in schedule_remarks(16, ScheduleSpec(epochs=3))[0]
    assert "learnt by heart" in schedule_remarks(160, ScheduleSpec(epochs=12))[0]
    assert schedule_remarks(160, ScheduleSpec(epochs=3)) == ()
    assert "Try 1 row a step" in schedule_remarks(2, ScheduleSpec(epochs=1))[0]


# -- memory -----------------------------------------------------------------------------------------------------

SMOLLM2 = llama(hidden=576, layers=30, keys=192, inner=1536, vocabulary=49_152)
WIDE = llama(hidden=256, layers=8, keys=128, inner=512, vocabulary=264)


@pytest.mark.parametrize(
    ("shapes", "quantisation", "tokens", "trained", "measured_bytes"),
    [
        # The highest resident memory of a child training LoRA of rank 16 in float32 on a CPU: docs/training.md.
        (SMOLLM2, "none", 514, 230, 2.290e9),
        (SMOLLM2, "nf4", 514, 230, 1.863e9),
        (SMOLLM2, "nf4", 4 * 514, 4 * 230, 5.378e9),
        (SMOLLM2, "none", 4 * 514, 4 * 230, 5.490e9),
        (SMOLLM2, "nf4", 1858, 874, 4.455e9),
        (WIDE, "none", 8 * 491, 1848, 1.474e9),
        (WIDE, "none", 2 * 1940, 1842, 1.223e9),
    ],
)
def test_the_memory_estimate_is_never_below_what_was_measured_and_at_most_a_third_above(
    shapes, quantisation, tokens, trained, measured_bytes
):
    estimated = memory(
        shapes, trainable=lora_parameters(shapes, rank=16), quantisation=Quantisation(quantisation), tokens=tokens,
        trained_share=trained / tokens, compute_bytes=4, device="cpu",
    )  # fmt: skip
    assert 1.0 <= estimated.total_bytes / measured_bytes <= 1.34


def test_a_4_bit_base_takes_little_and_its_head_stays_whole():
    parts = {
        kind: memory(SMOLLM2, trainable=0, quantisation=kind, tokens=0, trained_share=0, compute_bytes=2, device="cuda")
        for kind in Quantisation
    }
    assert parts[Quantisation.NONE].base_bytes == 2 * SMOLLM2.parameters
    embedding = 2 * 49_152 * 576
    assert embedding < parts[Quantisation.NF4].base_bytes < embedding + 0.3 * 2 * SMOLLM2.parameters


def test_every_trained_parameter_takes_a_weight_a_gradient_and_two_moments():
    with_adapter, without = (
        memory(WIDE, trainable=count, quantisation=Quantisation.NONE, tokens=0, trained_share=0, compute_bytes=4,
               device="cpu") for count in (1_000_000, 0)
    )  # fmt: skip
    assert with_adapter.total_bytes - without.total_bytes == 16_000_000


def test_the_largest_pass_is_whole_rows_within_a_budget_unless_somebody_says_how_many():
    assert tokens_per_pass(2048, ScheduleSpec(batch_rows=8), "cpu") == 4096
    assert tokens_per_pass(2048, ScheduleSpec(batch_rows=1), "cpu") == 2048
    assert tokens_per_pass(8192, ScheduleSpec(batch_rows=8), "cpu") == 8192  # one row is never cut
    assert tokens_per_pass(2048, ScheduleSpec(batch_rows=8, micro_batch_rows=3), "cpu") == 6144


def test_a_share_holds_back_at_least_one_row_and_never_all():
    assert [held_back_rows(rows, 0.05) for rows in (1, 2, 10, 200)] == [0, 1, 1, 10]
    assert held_back_rows(200, 0) == 0


def test_the_time_is_the_pace_of_earlier_runs_and_what_they_spent_beside_their_steps():
    assert seconds(100, 3, seconds_per_row=0.5, other_seconds=20) == 170
