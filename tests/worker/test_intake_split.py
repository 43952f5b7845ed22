"""The validation split: by group, by seed, the same every time."""

import pytest

from models.catalog.formats.messages import parse
from models.domain.example import Text
from tests.text_bases import row, sample_rows
from worker.data.split import group_of, split

ROWS = [(number, parse(each)) for number, each in enumerate(sample_rows(), start=1)]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5])
def test_both_sides_together_are_the_rows_and_validation_has_its_share(fraction):
    training, validation = split(ROWS, fraction, seed=1)
    assert sorted([*training, *validation], key=lambda each: each[0]) == ROWS
    assert 0 < len(validation) <= round(fraction * len(ROWS))
    assert len(validation) >= 0.9 * fraction * len(ROWS) - 1


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    assert split(ROWS, 0.2, seed=1) == split(ROWS, 0.2, seed=1)
    assert split(ROWS, 0.2, seed=1) != split(ROWS, 0.2, seed=2)


def test_the_order_of_the_rows_does_not_move_a_row_across():
    _, validation = split(ROWS, 0.2, seed=1)
    _, from_reversed = split(ROWS[::-1], 0.2, seed=1)
    assert sorted(n for n, _ in validation) == sorted(n for n, _ in from_reversed)


def test_rows_that_ask_the_same_stay_on_one_side():
    same = ["Who founded it?", "who founded it", "  WHO   founded it?!", "Who, founded it"]
    rows = [(n, parse(row(f"Other {n}" if n % 3 else same[n % 4], f"{n}"))) for n in range(120)]
    for seed in range(20):
        training, validation = split(rows, 0.4, seed)
        assert validation
        assert not any(n % 3 == 0 for n, _ in training) or not any(n % 3 == 0 for n, _ in validation)


def test_a_group_larger_than_the_share_does_not_fill_validation():
    rows = [(n, parse(row("The same", f"{n}"))) for n in range(50)] + [(50, parse(row("Another", "x")))]
    for seed in range(5):
        _, validation = split(rows, 0.1, seed)
        assert [number for number, _ in validation] == [50]


def test_no_fraction_and_one_group_leave_everything_to_training():
    assert split(ROWS, 0.0, seed=1) == (ROWS, [])
    one = [(n, parse(row("The same", f"{n}"))) for n in range(9)]
    assert split(one, 0.5, seed=1) == (one, [])


def test_a_small_fraction_still_takes_one_group():
    rows = [(n, Text(text=f"document {n}")) for n in range(4)]
    training, validation = split(rows, 0.05, seed=3)
    assert (len(training), len(validation)) == (3, 1)


def test_questions_of_signs_alone_are_told_apart():
    assert group_of(parse(row("?!", "x"))) != group_of(parse(row("...", "x")))
