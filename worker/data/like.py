"""Which rows are like a text, in words: Okapi BM25 in one pass over prepared rows. Builds no index, knows no model.

Source: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with its usual k1 and b.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

K1, B = 1.2, 0.75
MOST_WORDS = 200  # of the text asked for
ROWS_BETWEEN_LOOKS = 500
_WORD = re.compile(r"\w+")
_TURNS = ("turns", "prompt", "chosen", "rejected", "completion")


@dataclass(frozen=True, kw_only=True)
class Near:
    """`likeness`: the row's score as a share of what a row of all the text's words would come close to."""

    source: int
    number: int
    likeness: float


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The likest first, and how many rows were read."""

    nearest: list[Near]
    rows: int


def nearest(
    rows: Iterable[tuple[int, int, str]], text: str, shown: int, is_over: Callable[[], bool] = lambda: False
) -> Searched:
    """`rows` are (source, number, example as prepared rows hold it). Ends early once `is_over`."""
    wanted = {word: place for place, word in enumerate(list(dict.fromkeys(words_of(text)))[:MOST_WORDS])}
    met: list[tuple[int, int, int, dict[int, int]]] = []
    holds, count, length_in_all = [0] * len(wanted), 0, 0
    for source, number, example in rows:
        if count % ROWS_BETWEEN_LOOKS == 0 and is_over():
            break
        count += 1
        length, found = 0, dict[int, int]()
        for said in texts_of(json.loads(example)):
            for word in words_of(said):
                length += 1
                if (place := wanted.get(word)) is not None:
                    found[place] = found.get(place, 0) + 1
        length_in_all += length
        if found:
            met.append((source, number, length, found))
            for place in found:
                holds[place] += 1
    weights = [math.log(1 + (count - held + 0.5) / (held + 0.5)) for held in holds]
    most, mean = sum(weights) * (K1 + 1), length_in_all / max(1, count)

    def score(one: tuple[int, int, int, dict[int, int]]) -> float:
        _, _, length, found = one
        damped = K1 * (1 - B + B * length / mean)
        return sum(weights[place] * often * (K1 + 1) / (often + damped) for place, often in found.items())

    best = nlargest(shown, ((score(one), -one[0], -one[1]) for one in met))
    near = [Near(source=-source, number=-number, likeness=min(1.0, value / most)) for value, source, number in best]
    return Searched(nearest=near, rows=count)


def words_of(text: str) -> list[str]:
    """Without case and punctuation."""
    return _WORD.findall(text.casefold())


def texts_of(example: dict[str, Any]) -> Iterator[str]:
    """What a row of any kind says, turn by turn."""
    for name in _TURNS:
        for turn in example.get(name) or ():
            yield turn["content"]
    if "text" in example:
        yield example["text"]
