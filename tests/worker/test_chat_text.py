"""From tokens to text: whole characters, stop strings, and drawing by chance that can be repeated."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from models.domain.chat import Sampling
from models.domain.errors import AppError, Code
from worker.chat.sampling import draw, generator_for
from worker.chat.voice import REPLACEMENT, Detokeniser, StopStrings

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
LIKELY = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))  # (V,)


def bytes_tokenizer() -> Tokenizer:
    """Every token is one byte, so most characters outside English take several."""
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(LETTERS)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


BYTES = bytes_tokenizer()


def told(ids: list[int]) -> list[str]:
    voice = Detokeniser(BYTES)
    return [*(voice.push(one) for one in ids), voice.rest()]


@given(some.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_piece_ever_holds_half_a_character(text):
    text = text.replace(REPLACEMENT, "?")
    pieces = told(BYTES.encode(text).ids)
    assert "".join(pieces) == text
    assert not any(REPLACEMENT in piece for piece in pieces)


@given(some.lists(some.integers(0, 255), max_size=60))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_characters_lose_nothing_and_double_nothing(ids):
    assert "".join(told(ids)) == BYTES.decode(ids)


def test_plain_letters_are_told_at_once():
    assert told(BYTES.encode("abc").ids) == ["a", "b", "c", ""]


@given(some.text("ab", max_size=30), some.lists(some.text("ab", min_size=1, max_size=4), max_size=3))
@settings(max_examples=300, deadline=None)
def test_an_answer_ends_before_its_first_stop_string(text, stops):
    passing = StopStrings(stops)
    shown = "".join(passing.pass_on(letter) for letter in text) + passing.rest()
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    seen = text[: min(ends)] if ends else text  # what had been said when the first stop string was complete
    begins = [at for stop in stops if (at := seen.find(stop)) >= 0]
    assert shown == (seen[: min(begins)] if begins else text)
    assert passing.is_hit == bool(ends)


def test_text_that_cannot_become_a_stop_string_is_not_held_back():
    passing = StopStrings(["END"])
    assert [passing.pass_on(piece) for piece in ("abc", "E", "N", "X", "EN")] == ["abc", "", "", "ENX", ""]
    assert passing.rest() == "EN"


def test_temperature_zero_takes_the_likeliest_token():
    assert {draw(LIKELY, Sampling(temperature=0), generator_for(seed)) for seed in range(20)} == {0}


def test_tokens_come_as_often_as_the_model_says():
    draws = [draw(LIKELY, Sampling(temperature=1), generator) for generator in [generator_for(1)] for _ in range(4000)]
    shares = torch.bincount(torch.tensor(draws), minlength=4) / 4000
    assert torch.allclose(shares, LIKELY.exp(), atol=0.03)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.4, {0}), (0.5, {0}), (0.6, {0, 1}), (0.81, {0, 1, 2}), (1.0, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    generator = generator_for(2)
    assert {draw(LIKELY, Sampling(temperature=1, top_p=top_p), generator) for _ in range(400)} == kept


def test_equal_seeds_draw_equal_tokens_and_no_seed_draws_others():
    def run(seed):
        generator = generator_for(seed)
        return [draw(LIKELY, Sampling(temperature=1), generator) for _ in range(64)]

    assert run(7) == run(7)
    assert run(None) != run(None)


def test_a_model_that_computes_no_number_is_named():
    with pytest.raises(AppError) as caught:
        draw(torch.tensor([0.0, float("nan")]), Sampling(), generator_for(0))
    assert caught.value.code is Code.NOT_FINITE
