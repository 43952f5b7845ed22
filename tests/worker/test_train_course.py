"""What losses say of a training: improvement beyond chance, rising, standing still. Numbers alone, no model."""

import random

import pytest

from worker.train.course import FEWEST_ROWS, WINDOW, Improvement, LossCourse, compared, difference

TOKENS = [1 + row % 7 for row in range(40)]


def nats(per_token: float) -> list[float]:
    return [count * per_token for count in TOKENS]


def told(losses) -> list[int]:
    """The steps at which a course of losses warns."""
    course = LossCourse()
    return [step for step, loss in enumerate(losses, start=1) if course.add(step, loss)]


def test_the_error_of_a_difference_is_that_of_rows_and_not_of_tokens():
    """Twenty equal rows of 2 tokens, half of them 0.2 lower and half 0.4 lower a token: sd / root of 20."""
    before, now = [2.0] * 20, [1.6, 1.2] * 10
    mean, error = difference(before, now, [2] * 20)
    assert mean == pytest.approx(-0.3)
    assert error == pytest.approx(0.1 * (20 / 19) ** 0.5 / 20**0.5)


def test_a_shift_that_all_rows_share_has_no_error():
    assert difference(nats(2.0), nats(1.9), TOKENS) == pytest.approx((-0.1, 0.0), abs=1e-12)


def test_three_evaluations_without_improvement_end_a_training_and_two_do_not():
    improvement = Improvement()
    said = [improvement.has_ended(nats(loss), TOKENS) for loss in (2.0, 1.5, 1.6, 1.7, 1.4, 1.4, 1.5, 1.6)]
    assert said == [False] * 7 + [True]


def test_an_improvement_within_its_standard_error_is_none():
    improvement = Improvement()
    flat = [[2 - 0.001 * number + (0.1 if row >> number & 1 else -0.1) for row in range(48)] for number in range(4)]
    assert [improvement.has_ended(one, [1] * 48) for one in flat] == [False, False, False, True]


def test_small_steps_that_all_rows_take_together_are_improvements():
    improvement = Improvement()
    assert not any(improvement.has_ended(nats(2.0 - number * 0.001), TOKENS) for number in range(50))


def test_a_course_that_falls_with_noise_never_warns_and_one_that_turns_does_once():
    draw = random.Random(1)
    falling = [3 * 0.97**step + draw.gauss(0, 0.3) for step in range(200)]
    assert told(falling) == []
    rising = falling + [0.2 + step * 0.1 for step in range(60)]
    warned = told(rising)
    assert len(warned) == 1 and 200 < warned[0] <= 200 + WINDOW + 4


def test_a_rate_far_too_high_warns_although_the_loss_never_fell():
    assert told([2.3, 2.4, 2.3, 2.2] + [6.0, 7.5, 6.8, 7.1] * 5) == [WINDOW]


def test_a_loss_that_hardly_falls_is_named_and_one_that_falls_is_not():
    still, falls = LossCourse(), LossCourse()
    for step in range(1, 30):
        still.add(step, 2.0 - step * 0.0005), falls.add(step, 2.0 * 0.9**step)
    assert "hardly fell" in (still.stands_still() or "") and falls.stands_still() is None
    assert LossCourse().stands_still() is None


def test_what_a_course_remembers_does_not_grow_with_the_training():
    course = LossCourse()
    for step in range(1, 1000):
        course.add(step, 1.0 / step)
    assert len(course.recent) == len(course.lowest) == WINDOW and FEWEST_ROWS == 30


def test_an_end_above_the_bases_own_loss_or_hardly_below_it_is_named():
    assert "worse than the base" in (compared(2.0, 2.1, 40) or "") and "after step 40" in (compared(2.0, 2.1, 40) or "")
    assert "hardly fell" in (compared(2.0, 1.97, 40) or "") and compared(2.0, 1.9, 40) is None
