"""Near-duplicates: similarities are estimated truly, near rows are found and others are not joined."""

import random
import time

import numpy as np
import pytest

from benchmarks.rows_file import alpaca_rows
from worker.data.gate.minhash import PERMUTATIONS, SHINGLE_LETTERS, signatures, similarity
from worker.data.gate.near import near_groups


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [f"{row['instruction']} {row['output']}"[:-1].replace("?", "") for row in alpaca_rows(1500)]


def changed(text: str, words: int, draw: random.Random) -> str:
    every = text.split(" ")
    for place in draw.sample(range(len(every)), words):
        every[place] = f"changed{draw.randrange(10**6)}"
    return " ".join(every)


def jaccard(one: str, other: str) -> float:
    a, b = ({text[i : i + SHINGLE_LETTERS] for i in range(len(text) - SHINGLE_LETTERS + 1)} for text in (one, other))
    return len(a & b) / len(a | b)


def test_estimates_are_true_without_a_bias(texts):
    draw = random.Random(1)
    others = [changed(text, draw.randrange(40), draw) for text in texts[:400]]
    true = np.array([jaccard(*pair) for pair in zip(texts, others, strict=False)])
    errors = similarity(signatures(texts[:400]), signatures(others)) - true
    assert true.min() < 0.3
    assert abs(errors.mean()) < 0.01
    assert errors.std() < 1.5 * 0.5 / PERMUTATIONS**0.5  # the standard error of a share is at most 0.5 / root n


def test_signatures_do_not_depend_on_their_neighbours(texts):
    together = signatures([*texts[:50], "", "x" * 200_000, *texts[50:60]])
    assert (together[:50] == np.concatenate([signatures([text]) for text in texts[:50]])).all()
    assert (together[52:] == signatures(texts[50:60])).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "what is  THE capital -- of france"),
        ("?!", "?!"),
        ("", " "),
        ("日本の首都はどこですか？東京です。", "日本の首都はどこですか?東京です"),
        ("Ｆｕｌｌ width", "full WIDTH"),
    ],
)
def test_case_signs_and_spacing_do_not_count(one, other):
    assert (signatures([one]) == signatures([other])).all()


def test_rows_that_differ_in_little_are_grouped_and_others_are_not(texts):
    draw = random.Random(3)
    own = list(dict.fromkeys(texts))[:300]
    near = [changed(text, 1, draw) for text in own[:100]]
    first = near_groups(signatures(own + near))
    found = sum(int(first[300 + number] == first[number]) for number in range(100))
    far = [(a, b) for a, b in enumerate(first) if a != b and jaccard((own + near)[a], (own + near)[b]) < 0.6]
    assert min(jaccard(*pair) for pair in zip(own, near, strict=False)) > 0.85
    assert found >= 99
    assert far == []


def test_short_questions_about_different_things_are_not_near():
    rows = [f"What is {a} + {b}? {a + b}" for a in range(3, 40) for b in (7, 19)]
    rows += [f"What is the capital of {land}? {town}" for land, town in [("France", "Paris"), ("Peru", "Lima")]]
    assert (near_groups(signatures(rows)) == np.arange(len(rows))).all()


def test_a_chain_of_near_rows_is_one_group():
    words = [f"word{number}" for number in range(80)]
    chain = [" ".join(words[: 40 + step] + words[45 + step :]) for step in range(0, 30, 2)]
    assert set(near_groups(signatures(chain))) == {0}


def test_a_hundred_thousand_equal_texts_take_no_time_in_proportion_to_their_pairs():
    rows = np.repeat(signatures(["the same text over and over again"]), 100_000, axis=0)
    began = time.process_time()
    assert not near_groups(rows).any()
    assert time.process_time() - began < 10


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows_have_no_neighbours(count):
    assert near_groups(signatures(["alone"] * count)).tolist() == list(range(count))
