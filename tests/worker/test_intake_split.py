"""The validation split: by group, by seed, the same every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.formats.messages import parse
from models.domain.example import Text
from tests.text_bases import row, sample_rows
from worker.data.split import drawn, group_number, group_of, held_back, joined


def numbers(rows) -> np.ndarray:
    return np.array([group_number(group_of(example)) for _, example in rows], dtype=np.uint64)


def split(rows, fraction, seed):
    """(training, validation), each in the order of the rows."""
    chosen = held_back(numbers(rows), fraction, seed)
    return [row for row, is_out in zip(rows, chosen, strict=True) if not is_out], [
        row for row, is_out in zip(rows, chosen, strict=True) if is_out
    ]


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


# -- drawing and joining ----------------------------------------------------------------------------------------

GROUPS = st.lists(st.integers(1, 9), min_size=1, max_size=60)


@settings(max_examples=50)
@given(GROUPS, st.integers(0, 70), st.integers(0, 5))
def test_exactly_so_many_rows_are_drawn_and_only_one_group_is_cut(groups, count, seed):
    of = np.array(groups, dtype=np.uint64)
    chosen = drawn(of, count, seed, "take")
    assert chosen.sum() == min(count, len(groups))
    cut = [group for group in set(groups) if 0 < chosen[of == group].sum() < (of == group).sum()]
    assert len(cut) <= 1


def test_a_larger_draw_holds_the_smaller_one_and_another_seed_or_purpose_draws_others():
    groups = np.arange(1, 1001, dtype=np.uint64)
    small, large = (drawn(groups, count, 1, "take") for count in (100, 300))
    assert (small & large).sum() == 100
    for others in (drawn(groups, 100, 2, "take"), drawn(groups, 100, 1, "more")):
        assert (small & others).sum() < 40  # ten are met by chance


def test_draws_and_splits_are_the_same_on_every_machine():
    # Figures of this very code on x86-64 with numpy 2: a change of them moves every split there is.
    groups = np.array([group_number(word) for word in ("red", "green", "blue", "grey", "pink")], dtype=np.uint64)
    assert groups[0] == 11765665226422741261
    assert drawn(groups, 2, 7, "take").tolist() == [True, True, False, False, False]
    assert held_back(groups, 0.4, 3).tolist() == [True, False, True, False, False]


def test_joined_groups_are_one_through_any_chain():
    groups = np.array([10, 20, 30, 40, 50, 10], dtype=np.uint64)
    others = np.array([1, 1, 2, 2, 0, 2], dtype=np.uint64)
    assert joined(groups, others).tolist() == [10, 10, 10, 10, 50, 10]
    assert joined(groups, np.zeros(6, dtype=np.uint64)).tolist() == groups.tolist()


@settings(max_examples=50)
@given(GROUPS, st.data())
def test_rows_that_share_either_number_end_in_one_group(groups, data):
    others = data.draw(st.lists(st.integers(0, 4), min_size=len(groups), max_size=len(groups)))
    found = joined(np.array(groups, dtype=np.uint64), np.array(others, dtype=np.uint64))
    for one in range(len(groups)):
        for two in range(one):
            if groups[one] == groups[two] or others[one] == others[two] != 0:
                assert found[one] == found[two]
