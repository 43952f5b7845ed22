"""The step that will train against a second computation: what of a long row is looked at."""

from worker.data.rendered import Rendered, Span
from worker.train.first_step import MOST_TOKENS, _end_of


def row(tokens: int, *spans: tuple[int, int]) -> Rendered:
    trained = tuple(Span(turn=turn, start=start, end=end) for turn, (start, end) in enumerate(spans))
    return Rendered(ids=list(range(tokens)), spans=trained, text="")


def test_a_short_row_is_looked_at_as_it_is_up_to_its_last_trained_token():
    seen = _end_of(row(60, (5, 10), (30, 50)))
    assert seen.ids == list(range(50)) and [(one.start, one.end) for one in seen.spans] == [(5, 10), (30, 50)]


def test_of_a_long_row_the_end_is_looked_at_and_its_first_token_is_not_trained():
    seen = _end_of(row(5000, (1, 10), (4000, 4990)))
    assert len(seen.ids) == MOST_TOKENS and seen.ids[-1] == 4989
    assert [(one.start, one.end) for one in seen.spans] == [(1, MOST_TOKENS)]


def test_the_same_tokens_are_trained_in_what_is_looked_at():
    seen = _end_of(row(400, (50, 60), (350, 360), (380, 400)))
    told = [seen.ids[place] for span in seen.spans for place in range(span.start, span.end)]
    assert told == [*range(350, 360), *range(380, 400)]
