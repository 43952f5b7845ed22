"""The picture of how long sequences are: what it counts, where its mark stands, what it says without being seen."""

import re
from xml.etree import ElementTree

import pytest

from models.domain.reports import Length
from webapp.views.lengths import histogram, percentile, sentence, sequences_within, together


def lengths(**sequences: int) -> list[Length]:
    """`t100=3`: three sequences of 100 tokens, half of them trained."""
    return [
        Length(tokens=int(name[1:]), sequences=count, total_tokens=int(name[1:]) * count,
               trained_tokens=int(name[1:]) * count // 2)
        for name, count in sequences.items()
    ]  # fmt: skip


def bars(picture: str) -> list[tuple[str, int]]:
    """(class, sequences) of each bar, from the left."""
    svg = ElementTree.fromstring(picture)
    return [
        (rect.get("class", ""), int((rect[0].text or "").rpartition(": ")[2].replace(",", "")))
        for rect in svg.iter("rect")
    ]


SOME = lengths(t20=50, t90=40, t400=9, t9000=1)


def test_every_sequence_stands_in_one_bar_and_long_ones_look_otherwise():
    drawn = bars(histogram(SOME, max_length=300))
    assert sum(count for _, count in drawn) == 100
    assert sum(count for kind, count in drawn if kind == "tr-lengths-over") == 10


def test_a_few_very_long_rows_do_not_press_the_others_into_one_bar():
    picture = histogram(SOME)
    assert len(bars(picture)) == 4 and "600 and more tokens" in picture
    assert "to 9,000 tokens: 1<" in picture


@pytest.mark.parametrize("max_length", [None, 16, 300, 500, 9000, 131_072])
def test_the_picture_stays_inside_its_frame(max_length):
    svg = ElementTree.fromstring(histogram(SOME, max_length=max_length))
    for rect in svg.iter("rect"):
        x, y, width, height = (float(rect.get(name, "nan")) for name in ("x", "y", "width", "height"))
        assert x >= 0 and x + width <= 320 and y >= 14 and y + height <= 80.01
    for line in svg.iter("line"):
        assert 0 <= float(line.get("x1", "nan")) <= 320


def test_the_mark_is_there_only_where_it_lies_inside():
    assert "longest allowed: 300" in histogram(SOME, max_length=300)
    assert "longest allowed" not in histogram(SOME, max_length=20_000)


def test_who_does_not_see_it_hears_the_same():
    said = sentence(SOME, 300)
    assert said == (
        "Lengths of 100 sequences: half have up to 20 tokens, 99 % up to 400, the longest 9,000. "
        "10 are longer than 300."
    )
    assert re.search(f'aria-label="{re.escape(said)}"', histogram(SOME, max_length=300))


def test_nothing_counted_draws_nothing_and_one_sequence_is_a_picture_too():
    assert histogram([]) == "" and percentile([], 99) == 0
    assert bars(histogram(lengths(t1=1), max_length=16)) == [("tr-lengths-bar", 1)]


def test_lengths_of_several_datasets_add_up():
    both = together([SOME, lengths(t20=5, t30=1)])
    assert [(one.tokens, one.sequences) for one in both] == [(20, 55), (30, 1), (90, 40), (400, 9), (9000, 1)]
    assert sum(one.total_tokens for one in both) == sum(one.total_tokens for one in SOME) + 130
    assert sequences_within(both, 90) == 96 and percentile(both, 50) == 20
