"""The gate's own arithmetic: rounding, distances and intervals on numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from models.domain.merging import StorageDtype
from worker.merge.arithmetic import _ordered, _round
from worker.merge.gate import shift_of
from worker.merge.listen import Distance, Row, distance
from worker.merge.rows import _up_to

WORDS = Distance(positions=1, top1_agreement=1.0, mean_kl=0.0)


def test_rounding_to_bf16_by_hand_is_torchs_rounding():
    values = np.random.default_rng(0).standard_normal(100_000) * 10.0 ** np.random.default_rng(1).integers(
        -30, 30, 100_000
    )
    ours = _round(values, StorageDtype.BF16)
    theirs = torch.from_numpy(values).float().to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("storage", list(StorageDtype))
def test_neighbouring_numbers_are_one_ulp_apart_also_across_zero(storage):
    step = 2.0**-7 if storage is StorageDtype.BF16 else 2.0**-23
    bits = _ordered(_round(np.array([1.0, 1.0 + step, -1.0, -1.0 - step, 0.0, -0.0]), storage))
    assert bits[1] - bits[0] == 1
    assert bits[2] - bits[3] == 1
    assert bits[4] == bits[5]


def test_the_distance_of_two_models_is_the_mean_over_positions():
    ours = [torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]))]
    theirs = [torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]))]
    found = distance(ours, theirs)
    assert found.top1_agreement == 0.5
    assert found.mean_kl == pytest.approx(0.25 * math.log(2) / 2, rel=1e-6)


def test_a_model_that_says_not_a_number_agrees_with_nobody():
    nan = [torch.full((2, 3), math.nan)]
    assert math.isnan(distance(nan, nan).mean_kl)


def test_the_same_change_in_every_row_is_sure_and_scattered_changes_are_not():
    tokens, adapter = [100] * 30, [50.0] * 30
    same = shift_of(adapter, [60.0] * 30, tokens, WORDS)
    assert (same.verdict, same.difference) == ("worse", pytest.approx(0.1))
    scattered = shift_of(adapter, [50.0 + (20 if row % 2 else -18) for row in range(30)], tokens, WORDS)
    assert scattered.verdict == "not_worse"
    assert scattered.interval_low < 0 < scattered.interval_high


def test_one_token_short_of_two_thousand_is_not_enough_and_a_better_merge_is_not_worse():
    assert shift_of([1.0, 1.0], [9.0, 9.0], [1000, 999], WORDS).verdict == "not_enough_data"
    assert shift_of([9.0, 9.0], [1.0, 1.0], [1000, 1000], WORDS).verdict == "not_worse"


def test_what_many_rows_have_in_common_is_compared_once():
    rows = [Row(ids=[1, 1, 1, last], is_answer=[False] * 4) for last in (2, 3, 3, 4)]
    chosen = _up_to(6, rows)
    assert [(row.ids[-1], row.shared) for row in chosen] == [(2, 0), (3, 3), (4, 3)]
    assert [row.shared for row in _up_to(4, rows)] == [0]
