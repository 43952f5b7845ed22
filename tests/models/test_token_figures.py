"""What counted tokens mean under a training's settings: arithmetic over reports."""

import pytest

from models.domain.reports import Length, TokenReport
from models.domain.token_figures import token_figures
from models.domain.training import OverLong


def report(**sequences: int) -> TokenReport:
    """`t100=3`: three sequences of 100 tokens, a quarter of them trained."""
    lengths = tuple(
        Length(tokens=int(name[1:]), sequences=count, total_tokens=int(name[1:]) * count,
               trained_tokens=int(name[1:]) * count // 4)
        for name, count in sequences.items()
    )  # fmt: skip
    count = sum(sequences.values())
    return TokenReport(
        base_name="tiny", rows=count, sequences=count, lengths=lengths, percentiles={}, seconds=1, tokens_per_second=1,
        total_tokens=sum(one.total_tokens for one in lengths), trained_tokens=0,
    )  # fmt: skip


def figures(*reports: TokenReport, rows=None, max_length=200, over_long=OverLong.DROP, is_text=False):
    trained = rows or [one.rows for one in reports]
    return token_figures(
        reports, trained, max_length=max_length, over_long=over_long, are_texts=[is_text for _ in reports]
    )


SOME = report(t40=50, t100=40, t200=8, t1000=2)


def test_rows_that_are_too_long_are_left_out_of_everything():
    found = figures(SOME)
    assert (found.sequences, found.tokens, found.trained_tokens) == (98, 7600, 1900)
    assert (found.longest, found.too_long, found.counted) == (200, 2, 100)


def test_an_epoch_scales_each_source_by_its_own_rows():
    found = figures(SOME, report(t10=100), rows=[200, 50])
    assert (found.sequences, found.tokens) == (2 * 98 + 50, 2 * 7600 + 500)
    assert found.counted == 200


def test_texts_are_cut_into_pieces_and_conversations_are_not():
    found = figures(SOME, over_long=OverLong.SPLIT_TEXT, is_text=True)
    assert (found.sequences, found.tokens, found.longest) == (98 + 10, 9600, 200)
    assert figures(SOME, over_long=OverLong.SPLIT_TEXT).sequences == 98


def test_rows_without_their_oldest_turns_count_as_long_as_allowed():
    found = figures(SOME, over_long=OverLong.DROP_OLDEST_TURNS)
    assert (found.sequences, found.tokens) == (100, 7600 + 400)


def test_where_nothing_fits_nothing_is_trained():
    found = figures(SOME, max_length=16)
    assert (found.sequences, found.tokens, found.longest, found.too_long) == (0, 0, 0, 100)


@pytest.mark.parametrize("max_length", [16, 40, 150, 200, 999, 1000, 5000])
def test_a_longer_longest_row_never_trains_on_less(max_length):
    shorter, longer = figures(SOME, max_length=max_length), figures(SOME, max_length=max_length * 2)
    assert shorter.sequences <= longer.sequences and shorter.tokens <= longer.tokens
    assert shorter.longest <= max_length and longer.too_long <= shorter.too_long
