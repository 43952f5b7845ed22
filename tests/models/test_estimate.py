"""Figures that the form shows before anything runs."""

import pytest

from models.domain.estimate import (
    held_back_rows,
    learning_rate,
    planned_steps,
    rate_share,
    schedule_remarks,
    seconds,
)
from models.domain.training import ScheduleSpec


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


def test_a_share_holds_back_at_least_one_row_and_never_all():
    assert [held_back_rows(rows, 0.05) for rows in (1, 2, 10, 200)] == [0, 1, 1, 10]
    assert held_back_rows(200, 0) == 0


def test_the_time_is_the_pace_of_earlier_runs_and_what_they_spent_beside_their_steps():
    assert seconds(100, 3, seconds_per_row=0.5, other_seconds=20) == 170
